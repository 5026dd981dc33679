"""Measured time of each step, next to the least time that the machine allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact, Instance
from edgesmith.target import Machine
from edgesmith.target.machine import Bound

__all__ = ["Profile", "StepTime", "limit", "profile"]

AT_ONCE = 5
"""Repetitions that are asked for together: each request begins with a run that does not count."""


@dataclass(frozen=True)
class StepTime:
    """One step.

    Args:
        index: position in the program.
        operators: such as ``Conv+Clip``.
        time_ns, least_ns: median and minimum of the measured times.
        limit_ns: no program on this machine is faster (roofline); None: that is not known.
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
    limit_ns: float | None
    bound: Bound | None

    @property
    def roofline_share(self) -> float | None:
        """Limit over measured time: 1 is the best possible; None: the limit is not known."""
        return None if self.limit_ns is None else self.limit_ns / self.time_ns

    @property
    def flops_per_second(self) -> float:
        return 2 * self.macs / self.time_ns * 1e9


@dataclass(frozen=True)
class Profile:
    """Times of all steps in order.

    Args:
        total_ns: median time of a whole run, timed as one.
        call_ns: median time of one call without any step, of what measuring adds; the median is subtracted from the
            steps' medians, the minimum from their minima.
    """

    steps: tuple[StepTime, ...]
    total_ns: float
    call_ns: float
    machine: Machine | None
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
            "machine": self.machine.to_json() if self.machine else None,
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
    machine: Machine | None,
    repetitions: int = 30,
    progress: Callable[[int, int], None] | None = None,
    instance: Instance | None = None,
) -> Profile:
    """Run the program step by step and as a whole, in turn, ``repetitions`` times.

    Args:
        machine: peak rates for as many threads as the artifact uses; None: they are not known.
        instance: where it runs (default: in this process).
    """
    entries = artifact.manifest["steps"]
    running = artifact.context() if instance is None else instance
    running.bind(selftest_inputs(list(artifact.inputs.values())))
    rounds = []
    for done in range(0, repetitions, AT_ONCE):
        rounds.append(running.time_steps(min(AT_ONCE, repetitions - done)))
        if progress:
            progress(min(done + AT_ONCE, repetitions), repetitions)
    times, whole, empty = (
        np.concatenate(parts) for parts in zip(*((r.steps, r.whole, r.empty) for r in rounds), strict=True)
    )
    call = float(np.median(empty))
    median = np.maximum(np.median(times, axis=0) - call, 1.0)
    least = np.maximum(times.min(axis=0) - empty.min(), 1.0)
    steps = []
    for i, entry in enumerate(entries):
        bounds = limit(entry, artifact.manifest["memory"], machine) if machine else (None, None)
        what = (entry["name"], entry["operators"], entry["kernel"], entry["macs"], entry["bytes"])
        steps.append(StepTime(i, *what, float(median[i]), float(least[i]), *bounds))
    return Profile(tuple(steps), float(np.median(whole)) - call, call, machine, repetitions)


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
