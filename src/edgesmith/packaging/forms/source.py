"""C sources for other compilers: an archive with a CMake project, a file of options, and commands to copy."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgesmith.device import Artifact
from edgesmith.packaging.archive import write_archive
from edgesmith.packaging.compiler_options import OPTIMIZATION
from edgesmith.packaging.form import form
from edgesmith.packaging.libraries import public_headers
from edgesmith.packaging.sources import Sources, no_sources
from edgesmith.toolchain.compiler import processor_options

__all__: list[str] = []

OPTIONS = "options"
"""A file of options, which compilers take as ``@options``."""


@form("source", no_sources)
def source(artifact: Artifact, version: str, folder: Path) -> Path:
    """``<name>-<version>-source.zip``, which unpacks into ``<name>-<version>/``."""
    sources = Sources.of(artifact)
    root = f"{sources.name}-{version}"
    flags = ("-std=gnu99", *OPTIMIZATION, "-fvisibility=hidden", *processor_options(artifact.target))
    files = {
        "README.md": _readme(artifact, version).encode(),
        "CMakeLists.txt": _cmake(sources, version, flags).encode(),
        OPTIONS: ("\n".join(flags) + "\n").encode(),
        "tools/weights_array.c": (
            resources.files("edgesmith.packaging") / "templates" / "weights_array.c"
        ).read_bytes(),
    }
    names = (*sources.library, *sources.program, *sources.headers, "weights.bin")
    files |= {n: (sources.folder / n).read_bytes() for n in names} | public_headers(sources.folder, sources.name)
    files["weights.c"] = _weights(sources).encode()
    path = folder / f"{root}-source.zip"
    write_archive(path, {f"{root}/{n}": files[n] for n in sorted(files)})
    return path


def _weights(sources: Sources) -> str:
    name = sources.name
    return f"""#if defined(ES_WEIGHTS_ARRAY)
/* tools/weights_array.c makes weights.inc. */
#if defined(__GNUC__)
#define ES_ALIGNED __attribute__((aligned(64)))
#else
#define ES_ALIGNED
#endif

extern const unsigned char {name}_weights[];

const unsigned char ES_ALIGNED {name}_weights[] = {{
#include "weights.inc"
}};

#else
{sources.text("weights.c")}
#endif
"""


def _cmake(sources: Sources, version: str, flags: tuple[str, ...]) -> str:
    name = sources.name

    def listed(files: tuple[str, ...]) -> str:
        return "".join(f"\n  {file}" for file in files)

    return f"""cmake_minimum_required(VERSION 3.13)
project({name} VERSION {version} LANGUAGES C)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

add_library({name}{listed(sources.library)})
add_library({name}::{name} ALIAS {name})
target_include_directories({name} PUBLIC
  $<BUILD_INTERFACE:${{CMAKE_CURRENT_SOURCE_DIR}}> $<INSTALL_INTERFACE:include>)
target_compile_options({name} PRIVATE{listed(flags)})
target_link_libraries({name} PUBLIC Threads::Threads PRIVATE $<$<NOT:$<PLATFORM_ID:Windows>>:m>)
set_target_properties({name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
set_source_files_properties(weights.c PROPERTIES
  COMPILE_OPTIONS "-Wa,-I${{CMAKE_CURRENT_SOURCE_DIR}}"
  OBJECT_DEPENDS "${{CMAKE_CURRENT_SOURCE_DIR}}/weights.bin")

add_executable({name}_program{listed(sources.program)})
set_target_properties({name}_program PROPERTIES OUTPUT_NAME {name})
target_link_libraries({name}_program PRIVATE {name} $<$<NOT:$<PLATFORM_ID:Windows>>:m>)

enable_testing()
add_test(NAME {name}_selftest COMMAND {name}_program --selftest)

install(TARGETS {name} {name}_program)
install(FILES{listed((f"{name}.h", "es_abi.h", "es_pool.h", "es_model.hpp"))}
  DESTINATION include)
"""


def _readme(artifact: Artifact, version: str) -> str:
    name = artifact.name
    tensors = "\n".join(
        [f"- input `{n}`: {t}" for n, t in artifact.inputs.items()]
        + [f"- output `{n}`: {t}" for n, t in artifact.outputs.items()]
    )
    library = f"{name}.c kernels_*.c es_pool*.c weights.c"
    return f"""# {name} {version}

A neural network in C, for {artifact.manifest["target"]}. It needs GCC or Clang, for their vector types (12 and 14 are
tried), POSIX threads, and nothing but the C library.

{tensors}

The program, in this folder:

```
cc @{OPTIONS} *.c -o {name} -lm -pthread
./{name} --selftest
```

The library for programs of your own. They include `{name}.h`; `es_abi.h` says how it is used, in C++17
`es_model.hpp` wraps it:

```
cc @{OPTIONS} -c {library}
ar rcs lib{name}.a *.o
```

With CMake, in any folder; `add_subdirectory` and `target_link_libraries(app {name}::{name})` work too:

```
cmake -S . -B build && cmake --build build && ctest --test-dir build
```

`{OPTIONS}` holds the compiler's options; without `-ffp-contract=off` results are other bits. The assembler puts the
weights in (`.incbin`); where it cannot, a C array does, which takes longer to compile:

```
cc tools/weights_array.c -o weights_array && ./weights_array weights.bin > weights.inc
cc @{OPTIONS} -DES_WEIGHTS_ARRAY *.c -o {name} -lm -pthread
```
"""
