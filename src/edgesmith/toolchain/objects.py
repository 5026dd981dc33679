"""C files to objects, each once: those of earlier builds come from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgesmith import knobs
from edgesmith.errors import CompilerFailed
from edgesmith.toolchain.compiler import Compiler
from edgesmith.toolchain.kept import KeptObjects, may_keep
from edgesmith.toolchain.precompiled import HEADER, precompiled

__all__ = ["compile_objects"]

FIRST_LINE = f'#include "{HEADER}"\n'.encode()


@dataclass(frozen=True)
class _Job:
    file: Path
    options: tuple[str, ...]
    made: Path
    key: str | None

    @property
    def header(self) -> Path | None:
        """The one that may be compiled before the file, because it begins with it."""
        with self.file.open("rb") as opened:
            return self.file.parent / HEADER if opened.read(len(FIRST_LINE)) == FIRST_LINE else None


def compile_objects(
    compiler: Compiler,
    source: Path,
    wanted: Mapping[Path, tuple[Sequence[str], Path]],
    extra: Sequence[str],
    done: Callable[[], None],
) -> None:
    """Compile C files, several at once.

    Args:
        source: the folder with all files, where the compiler runs.
        wanted: by C file, options and path of the object.
        extra: those of the options that are not Edgesmith's own.
        done: called after each.

    Raises:
        CompilerFailed: the compiler is missing or refused the code.
    """
    kept = KeptObjects(compiler) if may_keep(compiler, extra) else None
    jobs = []
    for file, (options, made) in wanted.items():
        key = kept.key(source, file, options) if kept else None
        if kept and key and kept.find(key, made):
            done()
        else:
            jobs.append(_Job(file, tuple(options), made, key))
    with ThreadPoolExecutor(knobs.JOBS()) as pool:
        headers = _headers(compiler, jobs, pool) if kept else {}

        def compile_one(job: _Job) -> None:
            told = [*job.options, "-c", str(job.file.relative_to(source)), "-o", str(job.made)]
            header = headers[job].result() if job in headers else None
            _compile(compiler, told, source, header)
            if kept and job.key:
                kept.insert(job.key, job.made)
            done()

        # Who waits for a header comes last; then the largest first, so that the last one to finish is short.
        list(pool.map(compile_one, sorted(jobs, key=lambda j: (j in headers, -j.file.stat().st_size))))
    if kept:
        kept.evict()


def _headers(compiler: Compiler, jobs: Sequence[_Job], pool: ThreadPoolExecutor) -> dict[_Job, Future[Path | None]]:
    """The compiled header of each job that begins with one; equal ones are compiled once."""
    found: dict[tuple[bytes, tuple[str, ...]], Future[Path | None]] = {}
    by_job = {}
    for job in jobs:
        header = job.header
        if header is not None and header.is_file():
            about = (header.read_bytes(), job.options)
            if about not in found:
                found[about] = pool.submit(precompiled, compiler, header, job.options)
            by_job[job] = found[about]
    return by_job


def _compile(compiler: Compiler, told: Sequence[str], folder: Path, header: Path | None) -> None:
    """Run the compiler, with a compiled header where it takes it: it refuses those that are damaged."""
    if header is not None:
        with suppress(CompilerFailed):
            compiler.run(["-include-pch", str(header), *told], cwd=folder)
            return
    compiler.run(told, cwd=folder)
