"""Locks: the choices behind a plan as data, so that a build can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS, Problem, Region, refusal
from edgesmith.kernels.region import region
from edgesmith.ops import Movement
from edgesmith.plan.cover import in_order
from edgesmith.plan.patches import Patching
from edgesmith.plan.select import Choice
from edgesmith.target import Target

__all__ = ["Lock", "LockedStep"]

FORMAT = "edgesmith-lock-1"
RETUNE = "Make it again: edgesmith tune MODEL -o FILE"


@dataclass(frozen=True)
class LockedStep:
    """One step: the nodes it computes, by name, and how.

    Args:
        nodes: in topological order.
        anchor: the one that decides the algorithm.
    """

    nodes: tuple[str, ...]
    anchor: str
    kernel: str
    schedule: Mapping[str, int]


@dataclass(frozen=True)
class Lock:
    """The regions of a graph with their kernels and schedules; nodes of no step are views that cost nothing.

    Args:
        target: what it was made for, as ``str(target)``.
        patching: what is computed patch by patch; None: nothing.
    """

    target: str
    steps: tuple[LockedStep, ...]
    patching: Patching | None = None

    def to_json(self) -> str:
        """Canonical text: equal locks have equal texts."""
        lines = [json.dumps({**vars(s), "schedule": dict(s.schedule)}) for s in self.steps]
        head = f'"format": {json.dumps(FORMAT)},\n "target": {json.dumps(self.target)}'
        if self.patching:
            head += f',\n "patches": {json.dumps(vars(self.patching))}'
        return f'{{{head},\n "steps": [\n  ' + ",\n  ".join(lines) + "\n ]}\n"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str, where: str = "lock") -> Lock:
        """Read what ``to_json`` wrote.

        Args:
            where: name of the file, for messages.

        Raises:
            BadInput: the text is no lock.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise BadInput(f"its format is {data['format']!r}, not {FORMAT!r}", where=where, hint=RETUNE)
            patches = data.get("patches")
            patching = Patching.from_json(patches) if patches else None
            return cls(str(data["target"]), tuple(_step(s) for s in data["steps"]), patching)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"not a lock file ({type(error).__name__}: {error})", where=where, hint=RETUNE) from error

    def regions(self, graph: Graph, target: Target) -> tuple[Region, ...]:
        """The cover of ``graph`` that the lock describes, in the order of execution.

        Raises:
            BadInput: the lock was made for another graph, target or set of kernels.
        """
        if self.target != str(target):
            raise BadInput(f"made for {self.target}, the target is {target}", where="lock", hint=RETUNE)
        known = {n.name: n for n in graph.nodes}
        taken: set[str] = set()
        found = []
        for step in self.steps:
            missing = [n for n in (*step.nodes, step.anchor) if n not in known]
            if missing:
                raise _misfit(f"the model has no node {missing[0]!r}")
            if taken & set(step.nodes) or len(set(step.nodes)) < len(step.nodes) or step.anchor not in step.nodes:
                raise _misfit(f"the step of {step.anchor!r} computes nodes of another one")
            if step.kernel not in KERNELS:
                raise BadInput(f"unknown kernel {step.kernel!r} (step {step.anchor!r})", where="lock", hint=RETUNE)
            taken |= set(step.nodes)
            found.append(region(graph, (known[n] for n in step.nodes), known[step.anchor]))
        left = [n.name for n in graph.nodes if n.name not in taken and not isinstance(n.op, Movement)]
        if left:
            raise _misfit(f"no step computes the node {left[0]!r}")
        order, stuck = in_order(graph, found)
        if stuck:
            raise _misfit("its steps need the results of one another")
        return order

    def choice(self, problem: Problem) -> Choice:
        """What the lock says about the problem of one of its regions.

        Raises:
            BadInput: the kernel does not compute it, or not with that schedule.
        """
        step = next((s for s in self.steps if s.anchor == problem.anchor.name), None)
        if step is None:
            raise _misfit(f"no step computes the node {problem.anchor.name!r}")
        kernel = KERNELS[step.kernel]
        reject = refusal(kernel, problem)
        if reject is not None:
            raise _misfit(f"{step.kernel} does not compute {problem.region}: {reject.reason}")
        schedule = next((s for s in kernel.schedules(problem) if dict(s) == dict(step.schedule)), None)
        if schedule is None:
            raise _misfit(f"{step.kernel} has no schedule {dict(step.schedule)} for {problem.region}")
        return Choice(kernel, schedule, kernel.cost(problem, schedule))


def _step(data: Any) -> LockedStep:
    schedule = {str(k): int(v) for k, v in data["schedule"].items()}
    return LockedStep(tuple(map(str, data["nodes"])), str(data["anchor"]), str(data["kernel"]), schedule)


def _misfit(why: str) -> BadInput:
    return BadInput(f"it does not fit this model: {why}", where="lock", hint=RETUNE)
