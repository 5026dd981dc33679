"""One C header: declarations, and where ``<NAME>_IMPLEMENTATION`` is defined, the code and the weights.

So a model is added to a program by adding one file.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgesmith.atomic import write_file
from edgesmith.codegen.weights_source import array_source
from edgesmith.device import Artifact
from edgesmith.packaging.c_names import file_scope_names, renamed
from edgesmith.packaging.compiler_options import pragmas
from edgesmith.packaging.form import form
from edgesmith.packaging.sources import Sources, no_sources

__all__: list[str] = []

_OWN_INCLUDE = re.compile(r'^#include "[^"]*"\n', re.MULTILINE)
_SYSTEM_INCLUDE = re.compile(r"^#include <[^>]*>\n", re.MULTILINE)


@form("header-only", no_sources)
def header_only(artifact: Artifact, version: str, folder: Path) -> Path:
    """``<name>.h``, in the manner of the stb libraries."""
    sources = Sources.of(artifact)
    path = folder / f"{sources.name}.h"
    write_file(path, _header(artifact, sources, version).encode())
    return path


def _header(artifact: Artifact, sources: Sources, version: str) -> str:
    name, target = sources.name, artifact.target
    upper = name.upper()
    granted = pragmas(target, f"{name}.h")
    parts = [
        _usage(artifact, version),
        _for_gnu_functions(upper),
        sources.text("es_abi.h"),
        _without_own_includes(sources.text(f"{name}.h")),
        _for_this_model(_without_own_includes(sources.text("es_pool.h")), name),
        f"#if defined({upper}_IMPLEMENTATION)",
        _refusals(name),
        granted.check,
        _pool(sources),
        _kernels(sources, granted.push),
        _model(sources),
        granted.pop,
        f"#endif /* {upper}_IMPLEMENTATION */",
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _usage(artifact: Artifact, version: str) -> str:
    name, upper = artifact.name, artifact.name.upper()
    tensors = [f" *   input  {_safe(n)}: {t}" for n, t in artifact.inputs.items()]
    tensors += [f" *   output {_safe(n)}: {t}" for n, t in artifact.outputs.items()]
    return "\n".join(
        (
            f"/* {name} {version}: a neural network in one C header, for {artifact.manifest['target']}.",
            " *",
            *tensors,
            " *",
            " * In one C file, before other headers:",
            " *",
            f" *     #define {upper}_IMPLEMENTATION",
            f' *     #include "{name}.h"',
            " *",
            " * and in others, C or C++, without the first line. Compile the C file with -O3, link with -lm -pthread.",
            f" * With {upper}_NO_THREADS defined too, there is no {name}_pool and nothing needs -pthread.",
            " *",
            f" *     void *memory = aligned_alloc(ES_ALIGNMENT, {name}_context_bytes(1));",
            f" *     es_context *context = {name}_init(memory, {name}_context_bytes(1), 1, NULL, NULL);",
            f" *     {name}_prepare(context);",
            f" *     {name}_run(context, inputs, outputs);",
            " */",
        )
    )


def _for_gnu_functions(upper: str) -> str:
    """What es_pool.c asks of the C library, which has to come before any header."""
    return f"""#if defined({upper}_IMPLEMENTATION) && defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
"""


def _safe(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]|\\|\*(?=/)|/(?=\*)|\?(?=\?)", "_", text)


def _refusals(name: str) -> str:
    return f"""#if defined(__cplusplus)
#error "define {name.upper()}_IMPLEMENTATION in a file that is compiled as C; C++ includes the declarations"
#endif
#if defined(ES_IMPLEMENTATION_HERE)
#error "one file holds the implementation of one model"
#endif
#define ES_IMPLEMENTATION_HERE
"""


def _without_own_includes(text: str) -> str:
    return _OWN_INCLUDE.sub("", text)


def _for_this_model(text: str, name: str) -> str:
    """The thread pool's names with the model's in front, so that two models in one program have one each."""
    return re.sub(r"\b(es_pool|ES_POOL)", lambda m: f"{name}_pool" if m[0].islower() else f"{name.upper()}_POOL", text)


def _pool(sources: Sources) -> str:
    text = _without_own_includes(sources.text(sources.pool))
    own = {n: f"es_{sources.name}_{n}" for n in file_scope_names(text) if not n.startswith(("es_pool", "ES_POOL"))}
    text = _for_this_model(renamed(text, own), sources.name)
    return f"#if !defined({sources.name.upper()}_NO_THREADS)\n{text}#endif\n"


def _kernels(sources: Sources, push: str) -> str:
    """All kernels; mathematical functions, of which each file has its own, get the file's number."""
    simd = sources.text("es_simd.h")
    declarations = re.sub(r"^void ", "static void ", sources.text("es_kernels.h"), flags=re.MULTILINE)
    parts = [*dict.fromkeys(_SYSTEM_INCLUDE.findall(simd)), push, simd, declarations]
    seen: set[str] = set()
    for number, file in enumerate(sources.kernels):
        text = _without_own_includes(sources.text(file))
        names = file_scope_names(text)
        parts.append(renamed(text, {n: f"{n}_{number}" for n in names & seen}))
        seen |= names
    return "\n".join(parts)


def _model(sources: Sources) -> str:
    weights = f"{sources.name}_weights"
    text = _without_own_includes(sources.text(f"{sources.name}.c"))
    text = re.sub(rf"^extern const unsigned char {weights}\[\];\n", "", text, flags=re.MULTILINE)
    own = {n: f"es_{sources.name}_{n}" for n in file_scope_names(text)}
    own[weights] = f"((const unsigned char *){weights})"
    array = array_source(weights, (sources.folder / "weights.bin").read_bytes())
    array = re.sub(r"^extern const uint64_t .*\n\n", "", array, flags=re.MULTILINE)
    return f"{array.replace('const uint64_t', 'static const uint64_t', 1)}\n{renamed(text, own)}"
