"""Tuning on this machine or on a device, with the user's database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgesmith.deploy import Transport, Workplace
from edgesmith.errors import BadInput, TargetError
from edgesmith.ir import Graph
from edgesmith.plan import Plan
from edgesmith.target import Processor, Target, parse, profiles, runs_here, this_processor
from edgesmith.toolchain import Compiler
from edgesmith.toolchain.compiler import FLAGS
from edgesmith.tune.database import Database, Environment, default_path
from edgesmith.tune.described import processor_there
from edgesmith.tune.measurements import Measurements
from edgesmith.tune.modelled import ModelledTimer
from edgesmith.tune.remote import RemoteTimer
from edgesmith.tune.search import Progress, Search, Status, Tuned
from edgesmith.tune.timer import Timer, TrialTimer

__all__ = ["environment", "known_times", "modelled_environment", "recorded", "tune"]

SHOWN = 16
"""Measured candidates of a step that an artifact keeps."""


def environment(target: Target, compiler: Compiler) -> Environment:
    """Where times for a target count: on this machine, or, where it cannot run them, on the device."""
    flags = hashlib.sha256(" ".join(FLAGS).encode()).hexdigest()[:8]
    return Environment(_processor(target), str(target), f"{compiler.name} {compiler.version} ({flags})")


def _processor(target: Target) -> Processor:
    if runs_here(target):
        return this_processor()
    if target.device:
        return profiles()[target.device].processor
    return Processor(f"any {target.arch}", "", "", "", "", target.l1_bytes, target.l2_bytes, 0)


def modelled_environment(target: Target, compiler: Compiler) -> Environment:
    """Where times of a model of the target's core are kept: apart from all that were measured."""
    core, real = target.core, environment(target, compiler)
    name = f"model of {core.title}"
    return replace(real, processor=Processor(name, "llvm-mca", core.model, "", "", target.l1_bytes, target.l2_bytes, 0))


def recorded(target: Target, compiler: Compiler) -> Measurements:
    """What is known of a target: the user's database, then the starter database.

    Of a target that this machine cannot run, times of a model of its core count where none were measured.
    """
    model = None if runs_here(target) else modelled_environment(target, compiler)
    return Measurements.open(environment(target, compiler), model=model)


def tune(
    graph: Graph,
    target: Target,
    compiler: Compiler,
    *,
    only: Sequence[str] | None = None,
    budget_seconds: float = 300.0,
    modelled: bool = False,
    progress: Progress | None = None,
    database: Path | None = None,
    device: Transport | None = None,
) -> Tuned:
    """Search for the fastest kernels of a graph and keep what is measured.

    Args:
        graph: after passes.
        only: kernels that may be used (default: all).
        modelled: by what a model of the target's core takes, under QEMU, instead of by measured times.
        database: default: the user's.
        device: where candidates run (default: this machine).

    Raises:
        TargetError: this machine cannot run the target's programs.
        BadInput: the database cannot be used, or the device is an emulator, on which times say nothing.
        DeviceError: the device lacks something, or cannot be reached for a long time. What was measured is kept.
        MissingDependency: modelled, and ``llvm-mca`` is not installed.
    """
    heard = _Heard(progress)
    timer: Timer
    with ExitStack() as stack:
        if modelled:
            here, timer = modelled_environment(target, compiler), ModelledTimer(target, compiler)
        elif device:
            _require_real(device)
            processor, cpu = processor_there(device, target)
            here = replace(environment(target, compiler), processor=processor)
            place = stack.enter_context(Workplace(device))
            timer = stack.enter_context(RemoteTimer(target, compiler, processor, place, cpu, heard.waiting))
        else:
            _require_runnable(target)
            here = environment(target, compiler)
            timer = TrialTimer(target, compiler, here.processor)
        kept = stack.enter_context(Database(database or default_path()))
        known = Measurements.open(here, kept)
        search = Search(graph, target, timer, known, kept, only=only, budget_seconds=budget_seconds, progress=heard)
        return search.run()


class _Heard:
    """Progress of a search, which also tells why there is none."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress or (lambda _: None)
        self._last = Status(0.0, 0.0, 0, None, None)

    def __call__(self, status: Status) -> None:
        self._last = status
        self._progress(status)

    def waiting(self, why: str) -> None:
        """Nothing is measured because of this; empty: it goes on."""
        self._progress(replace(self._last, waiting=why))


def known_times(plan: Plan, known: Measurements, only: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """What was measured of each step's problem, the fastest first: kernel, schedule, times and source, by step."""
    allowed = None if only is None else frozenset(only)
    found = {}
    for step in plan.steps:
        rows = [
            {
                "kernel": m.record.kernel,
                "schedule": json.loads(m.record.schedule),
                "least_ns": m.record.least_ns,
                "median_ns": m.record.median_ns,
                "spread": m.record.spread,
                "source": m.source,
            }
            for m in known.of(step.problem, allowed)[:SHOWN]
        ]
        if rows:
            found[step.name] = rows
    return found


def _require_runnable(target: Target) -> None:
    host = parse("native")
    if target.triple != host.triple or not set(target.isas) <= set(host.isas):
        raise TargetError(
            f"times cannot be measured here: this machine is {host}",
            where=str(target),
            hint="Tune on the device: --on ssh://user@host, or there, and bring its records (edgesmith tuning export). "
            "Without one: --by cycles",
        )


def _require_real(device: Transport) -> None:
    if not device.tells_time:
        raise BadInput(
            "is an emulator: times on it say nothing about any processor",
            where=device.name,
            hint="Name a device, such as --on ssh://pi@raspberrypi. Without one: --by cycles",
        )
