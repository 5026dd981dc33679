"""Building objects, libraries and the executable of a C package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from edgesmith.codegen.package import BARE_PROGRAM, PROGRAM
from edgesmith.target import Target
from edgesmith.toolchain.compiler import BARE_FLAGS, FLAGS, Compiler
from edgesmith.toolchain.linking import library_options, program_options, stub_source
from edgesmith.toolchain.objects import compile_objects

__all__ = ["build"]

Progress = Callable[[int, int], None]
MAIN = tuple(name for name in (*PROGRAM, *BARE_PROGRAM) if name.endswith(".c"))
"""C files of the executables of generated packages."""

LINKER_SCRIPT = "es_board.ld"
"""Of programs without a system."""


def build(
    source: Path,
    output: Path,
    name: str,
    target: Target,
    compiler: Compiler,
    *,
    variants: Mapping[str, Target] | None = None,
    extra: Sequence[str] = (),
    main: Collection[str] = MAIN,
    executable: bool = True,
    one_piece: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Compile the package in ``source`` and put libraries and executable, named as on their system, in ``output``.

    Args:
        variants: folders in ``source`` whose files are compiled for a target of their own.
        extra: further compiler flags, such as sanitizers.
        main: names of the C files that belong to the executable alone, and to no library.
        executable: also build the executable (that of generated packages needs ``selftest_data.h``).
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
    flags = [*FLAGS, *(BARE_FLAGS if target.is_bare else ()), *extra]
    sources = {p: compiler.flags(target) for p in source.glob("*.c") if executable or p.name not in main}
    for folder, variant in (variants or {}).items():
        sources |= dict.fromkeys((source / folder).glob("*.c"), compiler.flags(variant))
    made = {p: objects / f"{'_'.join(p.relative_to(source).with_suffix('').parts)}.o" for p in sorted(sources)}
    done = 0

    def count_one() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(sources) + 1)

    compile_objects(compiler, source, {p: ([*sources[p], *flags], o) for p, o in made.items()}, extra, count_one)
    own = [str(o) for p, o in made.items() if p.parent == source and p.name in main]
    parts = [str(o) for p, o in made.items() if p.parent != source or p.name not in main]
    link = [*compiler.link_flags(target), "-O3", *extra]
    system = target.system
    library, archive, program = (output / n.format(name) for n in (system.shared, system.static, system.executable))
    result = {"static": archive}
    compiler.run(["rcsD", str(archive), *parts], cwd=source, archive=True)
    if not target.is_bare:
        result["shared"] = library
        _stub(target, compiler, objects)
        compiler.run([*link, *parts, *library_options(target, library, objects), "-o", str(library)], cwd=source)
    if executable and own:
        result["exe"] = program
        if target.is_bare:
            script = ["-T", LINKER_SCRIPT, "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-s"]
            model = [*parts, *script, *compiler.processor_flags(target)]
        elif one_piece or system.one_piece:
            model = [*parts, *program_options(target, objects)]
        else:
            model = program_options(target, objects, [library])
        compiler.run([*link, *own, *model, "-o", str(program)], cwd=source)
    if progress:
        progress(len(sources) + 1, len(sources) + 1)
    for path in objects.iterdir():
        path.unlink()
    objects.rmdir()
    return result


def _stub(target: Target, compiler: Compiler, folder: Path) -> None:
    """Make the library that stands for the system's, where one is needed."""
    text = stub_source(target)
    if text:
        (folder / "libc.c").write_text(text)
        options = ["-nostdlib", "-shared", "-fno-builtin", "-Wl,-soname,libc.so", "libc.c", "-o", "libc.so"]
        compiler.run([*compiler.link_flags(target), *options], cwd=folder)
