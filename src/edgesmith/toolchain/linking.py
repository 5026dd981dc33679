"""What linkers are told, by object format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgesmith.target import Target

__all__ = ["library_options", "program_options", "stub_source"]

PAGE_BYTES = 16384
"""Largest pages of Android (https://developer.android.com/guide/practices/page-sizes)."""
BIONIC = (
    *("memcpy", "memset", "memmove", "memcmp", "malloc", "free", "getauxval", "clock_gettime", "sysconf"),
    *("sched_yield", "sched_getaffinity", "__sched_cpucount"),
    *("pthread_create", "pthread_join", "pthread_attr_init", "pthread_attr_setstacksize", "pthread_attr_destroy"),
    *("pthread_mutex_init", "pthread_mutex_destroy", "pthread_mutex_lock", "pthread_mutex_unlock"),
    *("pthread_cond_init", "pthread_cond_destroy", "pthread_cond_wait", "pthread_cond_signal"),
)
"""Functions of Android's C library that libraries may use: those which, on 64-bit processors, take and give the same as
musl's, for whose headers they are compiled, with types of the same size."""

REACTOR = ("-mexec-model=reactor", "-Wl,--export-dynamic", "-Wl,--export=aligned_alloc", "-Wl,--export=free")
"""A module of WebAssembly that is called from outside, and gives its callers memory for what they pass."""

# Without symbol tables and build identifiers: these hold names that differ from build to build.
_ALWAYS = {
    "elf": ("-Wl,--build-id=none", "-Wl,-s"),
    "mach-o": ("-Wl,-s",),
    "coff": ("-Wl,-s",),
    "wasm": ("-Wl,-s",),
}


def library_options(target: Target, library: Path, objects: Path) -> list[str]:
    """For a shared library.

    Args:
        objects: a folder for files that nobody needs afterwards, with the library of ``stub_source``.
    """
    named = {
        "elf": ["-shared", f"-Wl,-soname,{library.name}"],
        "mach-o": ["-shared", f"-Wl,-install_name,@rpath/{library.name}"],
        "coff": ["-shared", f"-Wl,--out-implib,{library.with_suffix('.lib')}"],
        "wasm": [*REACTOR],
    }[target.system.object_format]
    options = [*_ALWAYS[target.system.object_format], *named]
    if target.system.name == "android":
        return [
            *options,
            "-nostdlib",
            f"-Wl,-z,max-page-size={PAGE_BYTES}",
            "-Wl,--no-undefined",
            f"-L{objects}",
            "-lc",
        ]
    return [*options, *_libraries(target)]


def program_options(target: Target, objects: Path, beside: Sequence[Path] = ()) -> list[str]:
    """For an executable.

    Args:
        objects: see ``library_options``.
        beside: shared libraries that will lie in its folder.
    """
    options = [*_ALWAYS[target.system.object_format]]
    if target.system.object_format == "coff":
        # Objects say themselves what is exported; the program's own import library is of no use.
        options.append(f"-Wl,--out-implib,{objects / 'program.lib'}")
    if target.system.name == "android":
        options += ["-static", f"-Wl,-z,max-page-size={PAGE_BYTES}"]
    found = ["-Wl,-rpath,$ORIGIN"] if beside else []
    return [*options, *map(str, beside), *found, *_libraries(target)]


def _libraries(target: Target) -> tuple[str, ...]:
    return ("-lm", "-pthread") if target.system.has_threads else ("-lm",)


def stub_source(target: Target) -> str:
    """C text of a library that stands for the system's when shared libraries are linked; empty where there is no need.

    It has the functions' names and nothing else; on the device the real library answers to its name, ``libc.so``.
    """
    if target.system.name != "android":
        return ""
    functions = "\n".join(f"void {name}(void) {{}}" for name in BIONIC)
    return f"/* Names of Android's C library, for the linker. */\n{functions}\n"
