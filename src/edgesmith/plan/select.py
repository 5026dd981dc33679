"""Choosing the kernel and schedule of a region by cost, and keeping the reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.errors import NoKernel
from edgesmith.kernels import KERNELS, Kernel, Problem, Schedule, refusal
from edgesmith.target import Target

__all__ = ["Candidate", "Choice", "CostModel", "Selector", "analytic", "choose", "considered"]

CostModel = Callable[[Kernel, Problem, Schedule], float]
"""Nanoseconds that a kernel takes for a problem with a schedule: analytic, learned or measured."""


def analytic(kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
    """The kernel's own prediction."""
    return kernel.cost(problem, schedule)


@dataclass(frozen=True)
class Candidate:
    """One kernel considered for a region: its own best prediction, or the reason why it does not apply."""

    kernel: str
    predicted_ns: float | None
    schedule: Mapping[str, int]
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """The kernel and schedule of a region.

    Args:
        cost_ns: its time by the cost model that chose; where that was measured it must not enter hashed files.
    """

    kernel: Kernel
    schedule: Schedule
    cost_ns: float


def choose(problem: Problem, cost: CostModel = analytic, only: frozenset[str] | None = None) -> Choice:
    """The cheapest kernel and schedule for ``problem``; raises ``NoKernel`` with every reason when none accepts.

    Args:
        only: names of the kernels to consider (default: all).
    """
    found: list[tuple[float, str, int, Choice]] = []
    for name, kernel in _allowed(only):
        if refusal(kernel, problem) is None:
            for i, schedule in enumerate(_schedules(kernel, problem)):
                time = cost(kernel, problem, schedule)
                found.append((time, name, i, Choice(kernel, schedule, time)))
    if not found:
        reasons = "; ".join(f"{c.kernel}: {c.reason}" for c in considered(problem, None, only))
        types = ", ".join(str(problem.type(v)) for v in problem.region.inputs)
        raise NoKernel(f"{problem.region.label} ({types}): {reasons}", where=problem.anchor.name)
    return min(found, key=lambda f: f[:3])[3]


def considered(problem: Problem, choice: Choice | None, only: frozenset[str] | None = None) -> tuple[Candidate, ...]:
    """Every kernel with its own prediction, whatever model chose: the chosen one, the others, those that refuse."""
    taken: list[tuple[float, str, Schedule]] = []
    refused: list[Candidate] = []
    for name, kernel in _allowed(only):
        reject = refusal(kernel, problem)
        mine = choice is not None and choice.kernel is kernel
        schedules = [choice.schedule] if mine and choice else [] if reject else _schedules(kernel, problem)
        if schedules:
            times = [kernel.cost(problem, s) for s in schedules]
            best = min(range(len(times)), key=times.__getitem__)
            taken.append((-1.0 if mine else times[best], name, schedules[best]))
        else:
            refused.append(Candidate(name, None, {}, reject.reason if reject else "no schedule fits"))
    taken.sort(key=lambda t: t[:2])
    return (*(Candidate(n, KERNELS[n].cost(problem, s), s) for _, n, s in taken), *refused)


def _schedules(kernel: Kernel, problem: Problem) -> Sequence[Schedule]:
    """On microcontrollers only what reads its constants where they lie: memory for prepared ones is what they lack."""
    if not problem.target.is_bare:
        return kernel.schedules(problem)
    return [] if kernel.always_prepares else [s for s in kernel.schedules(problem) if not kernel.prepares(problem, s)]


def _allowed(only: frozenset[str] | None) -> list[tuple[str, Kernel]]:
    return [(name, kernel) for name, kernel in KERNELS.items() if only is None or name in only]


class Selector:
    """Chooses kernels for the problems of plans; problems with equal signatures are decided once.

    Args:
        only: names of the kernels to consider (default: all).
    """

    def __init__(self, target: Target, cost: CostModel = analytic, only: frozenset[str] | None = None) -> None:
        self.target = target
        self.only = only
        self._cost = cost
        self._choices: dict[str, Choice | NoKernel] = {}
        self._considered: dict[tuple[object, ...], tuple[Candidate, ...]] = {}
        self._constants: dict[int, np.ndarray] = {}

    def choose(self, problem: Problem) -> Choice:
        """The cheapest kernel and schedule; raises ``NoKernel`` with every reason when none accepts."""
        known = self._choices.get(problem.signature)
        if known is None:
            try:
                known = choose(problem, self._cost, self.only)
            except NoKernel as error:
                known = error
            self._choices[problem.signature] = known
        if isinstance(known, NoKernel):
            raise NoKernel(known.why, where=problem.anchor.name)
        return known

    def accepts(self, problem: Problem) -> bool:
        """Whether any kernel takes the problem."""
        try:
            self.choose(problem)
        except NoKernel:
            return False
        return True

    def considered(self, problem: Problem, choice: Choice) -> tuple[Candidate, ...]:
        """See ``considered``; asked once for problems with equal signatures and the same constants."""
        constants = [
            problem.graph.constants[v] for n in problem.region.nodes for v in n.read if v in problem.graph.constants
        ]
        self._constants.update((id(c), c) for c in constants)  # kept, so that no other gets the same number
        schedule = tuple(sorted(choice.schedule.items()))
        key = (problem.signature, choice.kernel.name, schedule, *map(id, constants))
        if key not in self._considered:
            self._considered[key] = considered(problem, choice, self.only)
        return self._considered[key]
