"""What build systems need to find the libraries of an artifact: public headers, a CMake package, a pkg-config file.

All paths in them are relative to their own place, so the folder can be moved.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources
from pathlib import Path

from edgesmith.target import Target
from edgesmith.target.system import COFF, WASM

__all__ = ["INCLUDE", "library_files", "public_headers"]

INCLUDE = "include"
ABI, POOL, CPLUSPLUS = "es_abi.h", "es_pool.h", "es_model.hpp"
"""Headers of all models; without a system there is no pool of threads, and no wrapper for C++, which needs it."""


def public_headers(source: Path, name: str) -> dict[str, bytes]:
    """What programs that use a model may include, by file name.

    Args:
        source: the folder of its C sources.
    """
    headers = {f: (source / f).read_bytes() for f in (f"{name}.h", ABI, POOL) if (source / f).exists()}
    if POOL in headers:
        headers[CPLUSPLUS] = (resources.files("edgesmith.codegen") / "runtime" / CPLUSPLUS).read_bytes()
    return headers


def library_files(source: Path, name: str, version: str, target: Target, kinds: Collection[str]) -> dict[str, bytes]:
    """The files beside the libraries, by path in the artifact; none without libraries.

    Args:
        source: the folder of the C sources.
        kinds: which libraries there are: ``shared``, ``static``.
    """
    # A module of WebAssembly is no library that linkers take.
    linked = {"static"} if target.system.object_format == WASM else {"shared", "static"}
    kinds = linked & set(kinds)
    if not kinds:
        return {}
    headers = {f"{INCLUDE}/{file}": data for file, data in public_headers(source, name).items()}
    texts = {
        f"lib/cmake/{name}/{name}Config.cmake": _cmake(name, target, kinds),
        f"lib/cmake/{name}/{name}ConfigVersion.cmake": _cmake_version(version),
        f"lib/pkgconfig/{name}.pc": _pkg_config(name, version, target, kinds),
    }
    return headers | {path: text.encode() for path, text in texts.items()}


def _cmake(name: str, target: Target, kinds: Collection[str]) -> str:
    system = target.system
    text = f"""# Imported targets: {name}::shared and {name}::static, as far as the artifact has them, and
# {name}::{name}, which is the shared library where there is one.
get_filename_component(_{name}_root "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
"""
    if "shared" in kinds:
        shared = system.shared.format(name)
        implib = f'\n    IMPORTED_IMPLIB "${{_{name}_root}}/{name}.lib"' if system.object_format == COFF else ""
        text += f"""
if(NOT TARGET {name}::shared)
  add_library({name}::shared SHARED IMPORTED)
  set_target_properties({name}::shared PROPERTIES
    IMPORTED_LOCATION "${{_{name}_root}}/{shared}"{implib}
    INTERFACE_INCLUDE_DIRECTORIES "${{_{name}_root}}/{INCLUDE}")
endif()
"""
    if "static" in kinds:
        threads = "Threads::Threads;" if target.has_threads else ""
        find = "  include(CMakeFindDependencyMacro)\n  find_dependency(Threads)\n" if threads else ""
        text += f"""
if(NOT TARGET {name}::static)
{find}  add_library({name}::static STATIC IMPORTED)
  set_target_properties({name}::static PROPERTIES
    IMPORTED_LOCATION "${{_{name}_root}}/{system.static.format(name)}"
    INTERFACE_INCLUDE_DIRECTORIES "${{_{name}_root}}/{INCLUDE}"
    INTERFACE_LINK_LIBRARIES "{threads}$<$<NOT:$<PLATFORM_ID:Windows>>:m>")
endif()
"""
    default = "shared" if "shared" in kinds else "static"
    return (
        text
        + f"""
if(NOT TARGET {name}::{name})
  add_library({name}::{name} INTERFACE IMPORTED)
  set_target_properties({name}::{name} PROPERTIES INTERFACE_LINK_LIBRARIES {name}::{default})
endif()
unset(_{name}_root)
"""
    )


def _cmake_version(version: str) -> str:
    major = version.partition(".")[0]
    return f"""set(PACKAGE_VERSION "{version}")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION OR NOT "${{PACKAGE_FIND_VERSION_MAJOR}}" MATCHES "^({major})?$")
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
"""


def _pkg_config(name: str, version: str, target: Target, kinds: Collection[str]) -> str:
    needs = "-lm -pthread" if target.has_threads else "-lm"
    libraries = f"-L${{libdir}} -l{name}"
    shared = "shared" in kinds
    return f"""prefix=${{pcfiledir}}/../..
libdir=${{prefix}}
includedir=${{prefix}}/{INCLUDE}

Name: {name}
Description: A neural network compiled by Edgesmith
Version: {version}
Cflags: -I${{includedir}}
Libs: {libraries if shared else f"{libraries} {needs}"}
Libs.private: {needs if shared else ""}
""".replace("Libs.private: \n", "")
