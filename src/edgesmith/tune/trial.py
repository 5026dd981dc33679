"""Trials: many kernel functions compiled into one shared library, to be run on numpy arrays and timed."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith import knobs
from edgesmith.c.mathfunctions import definitions
from edgesmith.c.vector import header
from edgesmith.ir import View
from edgesmith.kernels import Code, Kernel, Place, Problem, Schedule
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE
from edgesmith.target import Target
from edgesmith.toolchain import Compiler, build, zig

__all__ = ["Call", "Trial", "TrialLibrary", "input_bytes", "places", "roots", "sources", "span_bytes", "write_sources"]

FILE_BYTES = 64 * 1024
"""Less C text than this is not worth a compiler process of its own."""
GUARD_BYTES = 256
ATTEMPTS = 4
PATTERN = 0xA5


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


def _aligned(nbytes: int) -> np.ndarray:
    """Zeroed bytes that begin at a multiple of 64, as the generated program's operands do."""
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def _aligned_copy(array: np.ndarray) -> np.ndarray:
    dense = np.ascontiguousarray(array)
    copy = _aligned(dense.nbytes)
    copy[:] = dense.reshape(-1).view(np.uint8)
    return copy


class _Buffer:
    """Memory of one root value, aligned to 64 bytes, between guards; all of it starts as ``PATTERN`` bytes."""

    def __init__(self, views: Sequence[View]) -> None:
        self.itemsize = views[0].dtype.itemsize
        nbytes = span_bytes(views)
        raw = np.full(nbytes + 2 * GUARD_BYTES + 64, PATTERN, np.uint8)
        start = GUARD_BYTES + -(raw.ctypes.data + GUARD_BYTES) % 64
        self.raw, self._start, self.nbytes = raw, start, nbytes

    @property
    def address(self) -> int:
        return int(self.raw.ctypes.data) + self._start

    @property
    def content(self) -> bytes:
        return self.raw[self._start : self._start + self.nbytes].tobytes()

    def array(self, view: View) -> np.ndarray:
        """The elements of a view, writable."""
        bytes_ = self.raw[self._start : self._start + self.nbytes]
        base = bytes_.view(view.dtype.numpy)[view.offset :]
        strides = tuple(s * self.itemsize for s in view.strides)
        return np.lib.stride_tricks.as_strided(base, view.shape, strides)

    def stray_bytes(self, written: Sequence[View]) -> int:
        """Number of bytes outside some views that no longer hold the pattern."""
        keep = self.raw.copy()
        for view in written:
            self.array(view).view(np.uint8 if self.itemsize == 1 else f"u{self.itemsize}")[...] = int.from_bytes(
                bytes([PATTERN] * self.itemsize), "little"
            )
        strays = int((self.raw != PATTERN).sum())
        self.raw[:] = keep
        return strays


def span_bytes(views: Sequence[View]) -> int:
    """Memory of a root value that some views reach."""
    return max(v.offset + _reach(v) for v in views) * views[0].dtype.itemsize


def _reach(view: View) -> int:
    """Elements from the view's first to behind its farthest one."""
    return 1 + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s > 0)


def sources(trials: Sequence[Trial], target: Target) -> list[str]:
    """C texts in which trial i is the function ``trial_<i>``.

    One text for each compiler process: each reads the system's headers, which takes as long as many trials.
    """
    total = sum(len(t.code.text) for t in trials)
    file_bytes = max(FILE_BYTES, -(-total // knobs.JOBS()))
    files: list[str] = []
    body: list[str] = []
    needed: dict[str, None] = {}
    for i, trial in enumerate(trials):
        name = f"trial_{i}"
        signatures = (SIGNATURE, PREPARE_SIGNATURE) if trial.code.prepared_bytes else (SIGNATURE,)
        visible = "".join(f'__attribute__((visibility("default"))) {s};\n' for s in signatures)
        body.append((visible + trial.code.text).replace("@NAME@", name))
        needed.update(dict.fromkeys(trial.code.functions))
        if sum(map(len, body)) >= file_bytes or i == len(trials) - 1:
            math = definitions(needed, vector=target.isa is not None)
            files.append('#include "es_simd.h"\n\n' + math + "\n".join(body))
            body.clear()
            needed.clear()
    return files


def write_sources(trials: Sequence[Trial], target: Target, folder: Path) -> None:
    """Write the C files of trials and of the clock that times them."""
    (folder / "es_simd.h").write_text(f"#ifndef ES_SIMD_H\n#define ES_SIMD_H\n\n{header(target)}\n#endif\n")
    for name in ("clock.h", "clock.c"):
        (folder / name).write_text((resources.files("edgesmith.tune") / name).read_text())
    for i, text in enumerate(sources(trials, target)):
        (folder / f"trials_{i:03}.c").write_text(text)


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
        write_sources(self._trials, target, folder)
        made = build(folder, folder, "trials", target, compiler or zig(), extra=flags, executable=False)
        self._library = ctypes.CDLL(str(made["shared"]))
        self._library.trial_time.restype = ctypes.c_double
        self._library.trial_time_in_network.restype = ctypes.c_double

    def run(self, index: int, feeds: Mapping[str, np.ndarray], *, apart: bool = False) -> dict[str, np.ndarray]:
        """The outputs of one trial.

        Args:
            feeds: the region's inputs.
            apart: run every task by itself, last first, as threads might.

        Raises:
            RuntimeError: the kernel wrote outside its outputs.
        """
        call = self.call(index, feeds)
        tasks = self._trials[index].code.tasks
        for begin, end in [(t, t + 1) for t in reversed(range(tasks))] if apart else [(0, tasks)]:
            call.function(call.pointers, ctypes.c_int32(begin), ctypes.c_int32(end), call.scratch)
        return call.outputs()

    def time_ns(self, index: int, feeds: Mapping[str, np.ndarray], *, seconds: float = 0.02) -> float:
        """Shortest time of one run over five rounds that take ``seconds`` together, on data that repetition warmed."""
        call = self.call(index, feeds)
        tasks = self._trials[index].code.tasks

        def once(runs: int) -> float:
            return float(self._library.trial_time(call.function, call.pointers, tasks, call.scratch, runs))

        once(1)
        runs = max(1, int(seconds / 5 * 1e9 / max(once(2), 1.0)))
        return min(once(runs) for _ in range(5))

    def call(self, index: int, feeds: Mapping[str, np.ndarray]) -> Call:
        """One trial with its operands in memory, prepared and ready to run."""
        trial = self._trials[index]
        name = f"trial_{index}"
        prepare = getattr(self._library, f"{name}_prepare") if trial.code.prepared_bytes else None
        return Call(trial, feeds, getattr(self._library, name), prepare)

    def time_in_network_ns(self, call: Call, other: np.ndarray) -> float:
        """Time of one run in the state of the caches that it meets inside a network.

        Its constants and its code were last used one run of the network ago: reading ``other`` first drives them out
        of the inner caches. Its inputs have just been written by the step before: they are read next.

        A run during which another program got the processor does not count and is repeated, at most ``ATTEMPTS`` times.

        Args:
            other: the memory that the rest of the network touches between two runs.
        """
        return float(
            self._library.trial_time_in_network(
                call.function,
                call.pointers,
                call.tasks,
                call.scratch,
                ctypes.c_void_p(other.ctypes.data),
                ctypes.c_size_t(other.nbytes),
                *call.inputs,
                ctypes.c_int32(ATTEMPTS),
            )
        )


def places(problem: Problem) -> dict[str, Place]:
    """Where each run-time operand of a problem lies, in the order in which kernels take them."""
    return {v: problem.places[v] for v in (*problem.region.inputs, *problem.region.outputs)}


def roots(problem: Problem) -> dict[str, list[View]]:
    """The memory that run-time operands share: the views of each."""
    found: dict[str, list[View]] = {}
    for place in places(problem).values():
        found.setdefault(place.root, []).append(place.view)
    return found


def input_bytes(problem: Problem, root: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """The memory of a root value with the inputs that lie in it."""
    buffer = _Buffer(roots(problem)[root])
    for value in problem.region.inputs:
        if problem.places[value].root == root:
            buffer.array(problem.places[value].view)[...] = feeds[value]
    return buffer.content


class Call:
    """Memory for the operands of one trial.

    Args:
        prepare: fills the prepared memory, when the code has some.
    """

    def __init__(self, trial: Trial, feeds: Mapping[str, np.ndarray], function: Any, prepare: Any = None) -> None:
        problem, code = trial.problem, trial.code
        self._trial = trial
        self.function = function
        self.tasks = ctypes.c_int32(code.tasks)
        self._places = places(problem)
        self._buffers = {root: _Buffer(views) for root, views in roots(problem).items()}
        for value in problem.region.inputs:
            place = self._places[value]
            self._buffers[place.root].array(place.view)[...] = feeds[value]
        self._memory = [_aligned_copy(c) for c in code.constants]
        if code.prepared_bytes:
            self._memory.append(_aligned(code.prepared_bytes))
        fixed = [m.ctypes.data for m in self._memory]
        run_time = [
            self._buffers[p.root].address + p.view.offset * p.view.dtype.itemsize for p in self._places.values()
        ]
        self.addresses = [*run_time, *fixed]
        self.pointers = _pointers(self.addresses)
        self._scratch = _aligned(code.scratch_bytes)
        self.scratch = ctypes.c_void_p(self._scratch.ctypes.data)
        if prepare is not None:
            prepare(_pointers([*(None for _ in run_time), *fixed]))

    @property
    def operands(self) -> list[np.ndarray]:
        """The bytes of the run-time operands, with the guards around them."""
        return [b.raw for b in self._buffers.values()]

    @property
    def fixed(self) -> list[np.ndarray]:
        """The bytes of the constants, and of the prepared memory."""
        return list(self._memory)

    @property
    def inputs(self) -> tuple[Any, Any, ctypes.c_int32]:
        """C arrays of the addresses and sizes of the memory that the inputs lie in, and their number."""
        roots = dict.fromkeys(self._places[v].root for v in self._trial.problem.region.inputs)
        buffers = [self._buffers[r] for r in roots]
        sizes = (ctypes.c_size_t * max(len(buffers), 1))(*(b.nbytes for b in buffers))
        return _pointers([b.address for b in buffers]), sizes, ctypes.c_int32(len(buffers))

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


def _pointers(addresses: Sequence[int | None]) -> Any:
    return (ctypes.c_void_p * max(len(addresses), 1))(*addresses)
