"""How long one run of an artifact takes: on this machine, on a device, or by a model of a core that is not here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np

from edgesmith.bench.timing import Timer, Times, interleaved
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.counting import count_inference
from edgesmith.counting.estimate import estimates
from edgesmith.counting.inference import WHOLE
from edgesmith.counting.mca import tool
from edgesmith.counting.plugin import Caches
from edgesmith.deploy import attach
from edgesmith.device import Artifact, Emulator, Instance
from edgesmith.errors import BadInput, DeviceError, MissingDependency, TargetError
from edgesmith.target import Target

__all__ = ["can_be_modelled", "modelled_ns", "on_device", "on_this_machine"]

EMPTY_CALLS = 31
SPARE_RUNS = 3
"""For each run that counts, runs that may be dropped because something else interrupted them."""


def on_this_machine(artifacts: Mapping[str, Artifact], rounds: int = 7, seconds: float = 0.0) -> dict[str, Times]:
    """Nanoseconds of whole runs in this process, in interleaved rounds, without what a call costs here.

    A run during which the system gave the processor to something else is repeated.

    Args:
        rounds, seconds: how many rounds and how long at least; see ``interleaved``.
    """
    work = {name: _in_process(artifact) for name, artifact in artifacts.items()}
    return interleaved(work, rounds, seconds=seconds)


def on_device(
    address: str, target: Target, artifacts: Mapping[str, Artifact], rounds: int = 7, seconds: float = 0.0
) -> dict[str, Times]:
    """The same on a device, by its own clock.

    Raises:
        BadInput: the address is none, or that of an emulator, on which times say nothing.
        DeviceError: the device cannot be reached, or a program fails there.
    """
    with ExitStack() as stack:
        device = stack.enter_context(attach(address, target))
        if not device.transport.tells_time:
            raise BadInput("is an emulator: times on it say nothing about any processor", where=device.name)
        work = {}
        for name, artifact in artifacts.items():
            running = device.chosen(artifact)
            work[name] = _there(stack.enter_context(device.open(running, running.threads)), running)
        return interleaved(work, rounds, seconds=seconds)


def can_be_modelled(target: Target) -> bool:
    """Whether a model of the target's core is known, and what runs its programs is installed."""
    if not target.core.model or target.is_bare:
        return False
    try:
        tool()
        Emulator.of(target)
    except (MissingDependency, TargetError, DeviceError):
        return False
    return True


def modelled_ns(artifact: Artifact) -> float:
    """Nanoseconds of one inference on one thread of the target's core, by QEMU, a model of its caches and ``llvm-mca``;
    the same in every run."""
    target = artifact.target
    found = count_inference(artifact, caches=Caches(target.l1_bytes, target.l2_bytes))
    (taken,) = estimates([found.blocks], [found.counts.misses[WHOLE]], target.arch, target.core)
    return taken.total / target.gigahertz


def _in_process(artifact: Artifact) -> Timer:
    context = artifact.context()
    context.bind(selftest_inputs(list(artifact.inputs.values())))
    steps = len(artifact.manifest["steps"])

    def timed(end: int) -> float:
        start = time.perf_counter_ns()
        context.run_steps(0, end)
        return float(time.perf_counter_ns() - start)

    empty = float(np.median([timed(0) for _ in range(EMPTY_CALLS)]))

    def run(count: int) -> list[float]:
        taken: list[float] = []
        spare = count * SPARE_RUNS
        while len(taken) < count:
            before = _interruptions()
            once = max(timed(steps) - empty, 1.0)
            if spare and _interruptions() != before:
                spare -= 1
            else:
                taken.append(once)
        return taken

    return run


def _there(instance: Instance, artifact: Artifact) -> Timer:
    instance.bind(selftest_inputs(list(artifact.inputs.values())))

    def run(count: int) -> list[float]:
        found = instance.time_steps(count)
        return [max(float(t), 1.0) for t in found.whole - np.median(found.empty)]

    return run


def _interruptions() -> int:
    """How often this process lost a processor so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
