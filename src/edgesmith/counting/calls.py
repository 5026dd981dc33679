"""Functions of generated C in a program for another processor, called on memory that a file describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from edgesmith.counting.counts import Counts
from edgesmith.counting.plugin import Caches, count
from edgesmith.device import Emulator, emulated
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE
from edgesmith.target import Target
from edgesmith.toolchain.compiler import FLAGS, Compiler, zig

__all__ = ["ForeignCall", "ForeignFunctions"]

DRIVER = "calls.c"


@dataclass(frozen=True, eq=False)
class ForeignCall:
    """A call of a kernel function.

    Args:
        function: its number.
        ranges: ``begin`` and ``end`` of each call.
        blocks: memory, as bytes.
        written: how many of the blocks are updated with what they hold afterwards, the first ones.
        pointers: addresses in these blocks: the function's operands.
        prepared: how many of them ``prepare`` knows, the last ones.
        scratch_bytes: memory besides.
    """

    function: int
    ranges: Sequence[tuple[int, int]]
    blocks: Sequence[np.ndarray]
    written: int
    pointers: Sequence[int]
    prepared: int = 0
    scratch_bytes: int = 0

    def to_bytes(self) -> bytes:
        """As ``calls.c`` reads it."""
        counts = [len(self.ranges), len(self.blocks), self.written, len(self.pointers), self.prepared]
        numbers = [self.function, *counts, self.scratch_bytes]
        numbers += [n for pair in self.ranges for n in pair]
        starts = [b.ctypes.data for b in self.blocks]
        numbers += [n for b, start in zip(self.blocks, starts, strict=True) for n in (b.nbytes, start % 64)]
        for address in self.pointers:
            # Of a block without bytes the end is an address, too.
            block = next(i for i, b in enumerate(self.blocks) if 0 <= address - starts[i] < max(b.nbytes, 1))
            numbers += [block, address - starts[block]]
        contents = [b.tobytes() + bytes(-b.nbytes % 8) for b in self.blocks]
        return np.array(numbers, np.int64).tobytes() + b"".join(contents)


class ForeignFunctions:
    """A program of kernel functions.

    Args:
        sources: C texts that define them, for a header ``es_simd.h``.
        names: their names, each with whether it has a ``prepare``.
        header: text of ``es_simd.h``.
        folder: an empty one.
        flags: further compiler flags.
    """

    def __init__(
        self,
        sources: Sequence[str],
        names: Sequence[tuple[str, bool]],
        header: str,
        target: Target,
        folder: Path,
        flags: Sequence[str] = (),
        compiler: Compiler | None = None,
    ) -> None:
        self._folder, self._program, self._device = folder, folder / "functions", emulated(target)
        self._arch = target.arch
        (folder / "es_simd.h").write_text(f"#ifndef ES_SIMD_H\n#define ES_SIMD_H\n\n{header}\n#endif\n")
        (folder / "functions.h").write_text(_declarations(names))
        files = [f"functions_{i:03}.c" for i in range(len(sources))]
        for file, text in zip(files, sources, strict=True):
            (folder / file).write_text(text)
        tool = compiler or zig()
        (folder / "main.c").write_text((resources.files("edgesmith.counting") / DRIVER).read_text())
        options = [*tool.flags(target), *FLAGS, "-Werror", *flags]
        for file in ("main.c", *files):
            tool.run([*options, "-c", file, "-o", f"{file}.o"], cwd=folder)
        objects = [f"{file}.o" for file in ("main.c", *files)]
        tool.run([*tool.link_flags(target), "-O3", *objects, "-o", "functions", "-lm"], cwd=folder)

    def count(self, calls: Sequence[ForeignCall], caches: Caches | None = None) -> Counts:
        """Make the calls one after another and count what each executes: call i is region i + 1.

        Raises:
            ArtifactError: the program died.
        """
        assert isinstance(self._device, Emulator), "QEMU counts"
        words = [str(self._program), *self._files(calls)]
        return count(self._device.command, words, self._arch, caches)[0]

    def run(self, calls: Sequence[ForeignCall]) -> None:
        """Make the calls one after another, and update their blocks.

        Raises:
            RuntimeError: the program died; the message says during which call.
        """
        given, results = self._files(calls)
        done = self._device.start(self._program, [given, results])
        if done.returncode:
            number = int((done.stdout.split() or ["-1"])[-1])
            raise RuntimeError(f"call {number} ended the program with status {done.returncode}: {done.stderr}")
        data, at = np.fromfile(results, np.uint8), 0
        for call in calls:
            for block in call.blocks[: call.written]:
                block[:] = data[at : at + block.nbytes]
                at += block.nbytes

    def _files(self, calls: Sequence[ForeignCall]) -> tuple[str, str]:
        """Files for the program: one that says what to do, and one for what comes of it."""
        given, results = self._folder / "calls", self._folder / "results"
        with given.open("wb") as file:
            file.write(np.int64(len(calls)).tobytes())
            for call in calls:
                file.write(call.to_bytes())
        return str(given), str(results)


def _declarations(names: Sequence[tuple[str, bool]]) -> str:
    lines = ["#include <stddef.h>", "#include <stdint.h>", ""]
    for name, has_prepare in names:
        signatures = (SIGNATURE, PREPARE_SIGNATURE) if has_prepare else (SIGNATURE,)
        lines += [f"{s.replace('@NAME@', name)};" for s in signatures]
    rows = [f"    {{{name}, {f'{name}_prepare' if has else 'NULL'}}}," for name, has in names]
    kind = "struct { void (*run)(void *const *, int32_t, int32_t, void *); void (*prepare)(void *const *); }"
    return "\n".join([*lines, f"static const {kind} functions[] = {{", *rows, "};", ""])
