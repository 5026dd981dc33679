"""Trials: many kernel functions compiled into one shared library, to be run on numpy arrays and timed."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from edgesmith.c.mathfunctions import definitions
from edgesmith.c.vector import header
from edgesmith.ir import View
from edgesmith.kernels import Code, Kernel, Problem, Schedule
from edgesmith.target import Target
from edgesmith.toolchain import Compiler, build, zig

__all__ = ["Trial", "TrialLibrary"]

FILE_BYTES = 32 * 1024
GUARD_BYTES = 256
PATTERN = 0xA5

_CLOCK = """#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

typedef void (*kernel)(void *const *p, int32_t begin, int32_t end, void *scratch);

__attribute__((visibility("default"))) double trial_time(
    kernel function, void *const *p, int32_t tasks, void *scratch, int32_t runs) {
    struct timespec start, stop;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int32_t i = 0; i < runs; ++i) {
        function(p, 0, tasks, scratch);
    }
    clock_gettime(CLOCK_MONOTONIC, &stop);
    return ((double)(stop.tv_sec - start.tv_sec) * 1e9 + (double)(stop.tv_nsec - start.tv_nsec)) / runs;
}
"""


@dataclass(frozen=True, eq=False)
class Trial:
    """One kernel with one schedule for one problem."""

    problem: Problem
    kernel: Kernel
    schedule: Schedule

    @cached_property
    def code(self) -> Code:
        return self.kernel.emit(self.problem, self.schedule)

    def __str__(self) -> str:
        return f"{self.kernel.name} {dict(self.schedule)} for {self.problem.region}"


class _Buffer:
    """Memory of one root value, aligned to 64 bytes, between guards; all of it starts as ``PATTERN`` bytes."""

    def __init__(self, views: Sequence[View]) -> None:
        self.itemsize = views[0].dtype.itemsize
        nbytes = max(v.offset + _reach(v) for v in views) * self.itemsize
        raw = np.full(nbytes + 2 * GUARD_BYTES + 64, PATTERN, np.uint8)
        start = GUARD_BYTES + -(raw.ctypes.data + GUARD_BYTES) % 64
        self._raw, self._start, self._nbytes = raw, start, nbytes

    @property
    def address(self) -> int:
        return int(self._raw.ctypes.data) + self._start

    def array(self, view: View) -> np.ndarray:
        """The elements of a view, writable."""
        bytes_ = self._raw[self._start : self._start + self._nbytes]
        base = bytes_.view(view.dtype.numpy)[view.offset :]
        strides = tuple(s * self.itemsize for s in view.strides)
        return np.lib.stride_tricks.as_strided(base, view.shape, strides)

    def stray_bytes(self, written: Sequence[View]) -> int:
        """Number of bytes outside some views that no longer hold the pattern."""
        keep = self._raw.copy()
        for view in written:
            self.array(view).view(np.uint8 if self.itemsize == 1 else f"u{self.itemsize}")[...] = int.from_bytes(
                bytes([PATTERN] * self.itemsize), "little"
            )
        strays = int((self._raw != PATTERN).sum())
        self._raw[:] = keep
        return strays


def _reach(view: View) -> int:
    """Elements from the view's first to behind its farthest one."""
    return 1 + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s > 0)


class TrialLibrary:
    """Compiled trials.

    Args:
        trials: all for ``target``.
        flags: further compiler flags.

    Raises:
        CompilerFailed: the compiler refused some code.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        target: Target,
        compiler: Compiler | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self._trials = tuple(trials)
        self._folder = tempfile.TemporaryDirectory(prefix="edgesmith-trial-")
        folder = Path(self._folder.name)
        (folder / "es_simd.h").write_text(f"#ifndef ES_SIMD_H\n#define ES_SIMD_H\n\n{header(target)}\n#endif\n")
        (folder / "clock.c").write_text(_CLOCK)
        for i, text in enumerate(self._sources(target)):
            (folder / f"trials_{i:03}.c").write_text(text)
        made = build(folder, folder, "trials", target, compiler or zig(), extra=flags, executable=False)
        self._library = ctypes.CDLL(str(made["shared"]))
        self._library.trial_time.restype = ctypes.c_double

    def _sources(self, target: Target) -> list[str]:
        files: list[str] = []
        body: list[str] = []
        needed: dict[str, None] = {}
        for i, trial in enumerate(self._trials):
            name = f"trial_{i}"
            signature = f"void {name}(void *const *p, int32_t begin, int32_t end, void *scratch);"
            body.append(
                f'__attribute__((visibility("default"))) {signature}\n{trial.code.text.replace("@NAME@", name)}'
            )
            needed.update(dict.fromkeys(trial.code.functions))
            if sum(map(len, body)) > FILE_BYTES or i == len(self._trials) - 1:
                math = definitions(needed, vector=target.isa is not None)
                files.append('#include "es_simd.h"\n\n' + math + "\n".join(body))
                body.clear()
                needed.clear()
        return files

    def run(self, index: int, feeds: Mapping[str, np.ndarray], *, apart: bool = False) -> dict[str, np.ndarray]:
        """The outputs of one trial.

        Args:
            feeds: the region's inputs.
            apart: run every task by itself, last first, as threads might.

        Raises:
            RuntimeError: the kernel wrote outside its outputs.
        """
        call = _Call(self._trials[index], feeds)
        function = getattr(self._library, f"trial_{index}")
        tasks = self._trials[index].code.tasks
        for begin, end in [(t, t + 1) for t in reversed(range(tasks))] if apart else [(0, tasks)]:
            function(call.pointers, ctypes.c_int32(begin), ctypes.c_int32(end), call.scratch)
        return call.outputs()

    def time_ns(self, index: int, feeds: Mapping[str, np.ndarray], *, seconds: float = 0.02) -> float:
        """Shortest time of one run over five rounds that take ``seconds`` together, on data that repetition warmed."""
        trial = self._trials[index]
        call = _Call(trial, feeds)
        function = getattr(self._library, f"trial_{index}")

        def once(runs: int) -> float:
            timed = self._library.trial_time(function, call.pointers, trial.code.tasks, call.scratch, runs)
            return float(timed)

        once(1)
        runs = max(1, int(seconds / 5 * 1e9 / max(once(2), 1.0)))
        return min(once(runs) for _ in range(5))


class _Call:
    """Buffers and pointers for one trial."""

    def __init__(self, trial: Trial, feeds: Mapping[str, np.ndarray]) -> None:
        problem = trial.problem
        self._trial = trial
        values = (*problem.region.inputs, *problem.region.outputs)
        self._places = {v: problem.places[v] for v in values}
        roots = {p.root: [q.view for q in self._places.values() if q.root == p.root] for p in self._places.values()}
        self._buffers = {root: _Buffer(views) for root, views in roots.items()}
        for value in problem.region.inputs:
            place = self._places[value]
            self._buffers[place.root].array(place.view)[...] = feeds[value]
        self._constants = [np.ascontiguousarray(c) for c in trial.code.constants]
        addresses = [
            self._buffers[p.root].address + p.view.offset * p.view.dtype.itemsize for p in self._places.values()
        ]
        addresses += [c.ctypes.data for c in self._constants]
        self.pointers = (ctypes.c_void_p * max(len(addresses), 1))(*addresses)
        # Vector kernels may rely on the alignment that the generated program gives.
        self._memory = np.zeros(trial.code.scratch_bytes + 64, np.uint8)
        self.scratch = ctypes.c_void_p(self._memory.ctypes.data + -self._memory.ctypes.data % 64)

    def outputs(self) -> dict[str, np.ndarray]:
        problem = self._trial.problem
        for root, buffer in self._buffers.items():
            used = [p.view for p in self._places.values() if p.root == root]
            strays = buffer.stray_bytes(used)
            if strays:
                raise RuntimeError(f"{self._trial}: {strays} bytes outside of {root} were overwritten")
        return {
            v: self._buffers[self._places[v].root].array(self._places[v].view).copy() for v in problem.region.outputs
        }
