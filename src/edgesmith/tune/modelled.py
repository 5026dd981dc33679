"""Times of candidates on a core that is not here: executed under QEMU, costed by a model of the core.

They are the same on every machine. They leave out what ``edgesmith.counting.estimate`` leaves out, and are kept apart
from times that were measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgesmith.c.vector import header
from edgesmith.counting.calls import ForeignCall, ForeignFunctions
from edgesmith.counting.counts import Counts, Misses
from edgesmith.counting.estimate import LINE_BYTES, estimates
from edgesmith.counting.mca import tool
from edgesmith.counting.plugin import Caches
from edgesmith.device import Emulator
from edgesmith.errors import CompilerFailed, TargetError
from edgesmith.target import Target, cores
from edgesmith.toolchain import Compiler
from edgesmith.tune.timer import BY_COMPILER, Outcome, Times, inputs
from edgesmith.tune.trial import Call, Trial, sources

__all__ = ["ModelledTimer", "foreign_call"]


class ModelledTimer:
    """Compiles trials, runs each once under QEMU, and says what the target's core takes for what it executes.

    A trial starts with empty caches, apart from what it reads and writes at run time, which is taken to lie in the
    second-level cache.

    Raises:
        TargetError: no model of the target's core is known, or QEMU is not installed.
        MissingDependency: ``llvm-mca`` is not installed.
    """

    def __init__(self, target: Target, compiler: Compiler) -> None:
        if not target.core.model:
            known = ", ".join(c.title for c in cores().values() if c.model)
            raise TargetError(f"no model of {target.core.title} is known", where=str(target), hint=f"known: {known}")
        tool()
        Emulator.of(target)
        self._target, self._compiler = target, compiler
        self._caches = Caches(target.l1_bytes, target.l2_bytes)

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Outcome]]:
        for group in groups:
            yield self._costed(group)

    def _costed(self, trials: Sequence[Trial]) -> list[Outcome]:
        try:
            counts = self._counts(trials)
        except CompilerFailed:
            if len(trials) == 1:
                return [BY_COMPILER]
            half = len(trials) // 2
            return self._costed(trials[:half]) + self._costed(trials[half:])
        regions = range(1, len(trials) + 1)
        misses = [_beyond(trial, counts.misses[r]) for trial, r in zip(trials, regions, strict=True)]
        target = self._target
        taken = estimates([counts.of(r) for r in regions], misses, target.arch, target.core)
        return [Times((e.total / target.gigahertz,)) for e in taken]

    def _counts(self, trials: Sequence[Trial]) -> Counts:
        feeds = inputs(trials[0].problem)
        names = [(f"trial_{i}", bool(t.code.prepared_bytes)) for i, t in enumerate(trials)]
        with tempfile.TemporaryDirectory(prefix="edgesmith-modelled-") as folder:
            text = sources(trials, self._target)
            program = ForeignFunctions(text, names, header(self._target), self._target, Path(folder))
            calls = [foreign_call(Call(t, feeds, None), t, i) for i, t in enumerate(trials)]
            return program.count(calls, self._caches)


def _beyond(trial: Trial, misses: Misses) -> Misses:
    """What a trial's caches miss when the second level has what it reads and writes at run time."""
    problem = trial.problem
    values = (*problem.region.inputs, *problem.region.outputs)
    near = sum(-(-problem.type(v).nbytes // LINE_BYTES) for v in values)
    return Misses(misses.l1, max(misses.l2 - near, 0))


def foreign_call(call: Call, trial: Trial, index: int, apart: bool = False) -> ForeignCall:
    """A trial as a call of function ``index`` of a foreign program.

    Args:
        apart: run every task by itself, last first.
    """
    tasks = trial.code.tasks
    ranges = [(t, t + 1) for t in reversed(range(tasks))] if apart else [(0, tasks)]
    blocks, written = [*call.operands, *call.fixed], len(call.operands)
    return ForeignCall(index, ranges, blocks, written, call.addresses, len(call.fixed), trial.code.scratch_bytes)
