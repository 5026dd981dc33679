"""Measured time of each step, next to the least time that the machine allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact, Context
from edgesmith.target import Machine
from edgesmith.target.machine import Bound

__all__ = ["Profile", "StepTime", "limit", "profile"]


@dataclass(frozen=True)
class StepTime:
    """One step.

    Args:
        index: position in the program.
        operators: such as ``Conv+Clip``.
        time_ns, least_ns: median and minimum of the measured times.
        limit_ns: no program on this machine is faster (roofline).
        bound: what that limit comes from.
    """

    index: int
    name: str
    operators: str
    kernel: str
    macs: int
    bytes: int
    time_ns: float
    least_ns: float
    limit_ns: float
    bound: Bound

    @property
    def roofline_share(self) -> float:
        """Limit over measured time: 1 is the best possible."""
        return self.limit_ns / self.time_ns

    @property
    def flops_per_second(self) -> float:
        return 2 * self.macs / self.time_ns * 1e9


@dataclass(frozen=True)
class Profile:
    """Times of all steps in order.

    Args:
        total_ns: median time of a whole run, timed as one.
        call_ns: median time of one call from Python without any step; the median is subtracted from the steps' medians,
            the minimum from their minima.
    """

    steps: tuple[StepTime, ...]
    total_ns: float
    call_ns: float
    machine: Machine
    repetitions: int

    @property
    def sum_ns(self) -> float:
        return sum(s.time_ns for s in self.steps)

    def to_json(self) -> dict[str, Any]:
        return {
            "total_ns": self.total_ns,
            "sum_of_steps_ns": self.sum_ns,
            "call_ns": self.call_ns,
            "repetitions": self.repetitions,
            "machine": self.machine.to_json(),
            "steps": [
                {
                    **vars(s),
                    "share": s.time_ns / self.sum_ns,
                    "roofline_share": s.roofline_share,
                    "gflops": s.flops_per_second / 1e9,
                }
                for s in self.steps
            ],
        }


def profile(
    artifact: Artifact,
    machine: Machine,
    repetitions: int = 30,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Run the program step by step and as a whole, in turn, ``repetitions`` times.

    Args:
        machine: peak rates for as many threads as the artifact uses.
    """
    entries = artifact.manifest["steps"]
    context = artifact.context()
    feeds = selftest_inputs(list(artifact.inputs.values()))
    outputs = [np.empty(t.shape, t.dtype.numpy) for t in artifact.outputs.values()]
    context.bind(feeds, outputs)
    context.run_steps(0, len(entries))
    times = np.empty((repetitions, len(entries)))
    whole, empty = np.empty(repetitions), np.empty((repetitions, len(entries)))
    for i in range(repetitions):
        for step in range(len(entries)):
            # A step may drive this interpreter out of the caches; a call without any step brings it back.
            _timed(context, 0, 0)
            empty[i, step] = _timed(context, 0, 0)
            times[i, step] = _timed(context, step, step + 1)
        whole[i] = _timed(context, 0, len(entries))
        if progress:
            progress(i + 1, repetitions)
    call = float(np.median(empty))
    median = np.maximum(np.median(times, axis=0) - call, 1.0)
    least = np.maximum(times.min(axis=0) - empty.min(), 1.0)
    steps = []
    for i, entry in enumerate(entries):
        limit_ns, bound = limit(entry, artifact.manifest["memory"], machine)
        what = (entry["name"], entry["operators"], entry["kernel"], entry["macs"], entry["bytes"])
        steps.append(StepTime(i, *what, float(median[i]), float(least[i]), limit_ns, bound))
    return Profile(tuple(steps), float(np.median(whole)) - call, call, machine, repetitions)


def _timed(context: Context, begin: int, end: int) -> float:
    start = time.perf_counter_ns()
    context.run_steps(begin, end)
    return float(time.perf_counter_ns() - start)


def limit(entry: Mapping[str, Any], memory: Mapping[str, int], machine: Machine) -> tuple[float, Bound]:
    """Least time of a step in nanoseconds, and what it comes from.

    Operands come from the cache that holds them: at best that of one step alone.

    Args:
        entry: the step's ``macs``, ``flops`` and ``bytes``.
        memory: the program's ``weights_bytes`` and ``arena_bytes``.
    """
    compute = machine.compute_ns(entry["macs"], entry["flops"])
    working_set = min(entry["bytes"], memory["weights_bytes"] + memory["arena_bytes"]) / machine.threads
    traffic = machine.memory_ns(entry["bytes"], working_set)
    return max(compute, traffic), "compute" if compute >= traffic else "memory"
