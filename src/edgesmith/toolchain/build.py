"""Building objects, libraries and the executable of a C package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgesmith import knobs
from edgesmith.codegen.package import BARE_PROGRAM, PROGRAM
from edgesmith.target import Target
from edgesmith.target.system import WASM
from edgesmith.toolchain.compiler import BARE_FLAGS, FLAGS, Compiler

__all__ = ["build"]

Progress = Callable[[int, int], None]
MAIN = tuple(name for name in (*PROGRAM, *BARE_PROGRAM) if name.endswith(".c"))

LINKER_SCRIPT = "es_board.ld"
"""Of programs without a system."""

REACTOR = ("-mexec-model=reactor", "-Wl,--export-dynamic", "-Wl,--export=aligned_alloc", "-Wl,--export=free")
"""A module of WebAssembly that is called from outside, and gives its callers memory for what they pass."""


def build(
    source: Path,
    output: Path,
    name: str,
    target: Target,
    compiler: Compiler,
    *,
    extra: Sequence[str] = (),
    executable: bool = True,
    one_piece: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Compile the package in ``source`` and put ``lib<name>.so``, ``lib<name>.a`` and the executable in ``output``.

    Args:
        extra: further compiler flags, such as sanitizers.
        executable: also build the command-line program (needs ``selftest_data.h``).
        one_piece: the executable contains the model, instead of finding the shared library beside it, on every system.
        progress: called with (files compiled, files in all).

    Returns:
        Part (``shared``, ``static``, ``exe``) to path.

    Raises:
        CompilerFailed: the compiler is missing or refused the code.
    """
    output = output.absolute()  # compilers run in the source folder
    objects = output / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    sources = sorted(p for p in source.glob("*.c") if executable or p.name not in MAIN)
    flags = [*compiler.flags(target), *FLAGS, *(BARE_FLAGS if target.is_bare else ()), *extra]
    done = 0

    def compile_one(path: Path) -> Path:
        nonlocal done
        result = objects / f"{path.stem}.o"
        compiler.run([*flags, "-c", path.name, "-o", str(result)], cwd=source)
        done += 1
        if progress:
            progress(done, len(sources) + 1)
        return result

    with ThreadPoolExecutor(knobs.JOBS()) as pool:
        # The largest first, so that the last one to finish is short.
        list(pool.map(compile_one, sorted(sources, key=lambda p: -p.stat().st_size)))
    main = [objects / f"{p.stem}.o" for p in sources if p.name in MAIN]
    parts = [str(objects / f"{p.stem}.o") for p in sources if p.name not in MAIN]
    # Without symbol tables and build identifiers: these hold names that differ from build to build.
    link = [*compiler.link_flags(target), "-O3", *extra, "-Wl,--build-id=none", "-Wl,-s"]
    library, archive = output / target.system.shared.format(name), output / target.system.static.format(name)
    is_wasm = target.system.object_format == WASM
    libraries = ["-lm"] if is_wasm else ["-lm", "-pthread"]
    result = {"static": archive}
    if not target.is_bare:
        kind = REACTOR if is_wasm else ("-shared", f"-Wl,-soname,{library.name}")
        result["shared"] = library
        compiler.run([*link, *kind, *parts, "-o", str(library), *libraries], cwd=source)
    compiler.run(["rcsD", str(archive), *parts], cwd=source, archive=True)
    if executable and main:
        program = output / target.system.executable.format(name)
        if target.is_bare:
            model = [*parts, "-T", LINKER_SCRIPT, "-Wl,--gc-sections", *compiler.processor_flags(target)]
        else:
            # Without a dynamic loader to rely on, the program is in one piece.
            one_piece = one_piece or target.system.one_piece
            model = [*(parts if one_piece else [str(library), "-Wl,-rpath,$ORIGIN"]), *libraries]
        compiler.run([*link, *map(str, main), *model, "-o", str(program)], cwd=source)
        result["exe"] = program
    if progress:
        progress(len(sources) + 1, len(sources) + 1)
    for path in objects.iterdir():
        path.unlink()
    objects.rmdir()
    return result
