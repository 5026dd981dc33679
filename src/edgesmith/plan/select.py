"""Choosing the kernel and schedule of a region by cost, and keeping the reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgesmith.errors import NoKernel
from edgesmith.kernels import KERNELS, Kernel, Problem, Schedule
from edgesmith.target import Target

__all__ = ["Candidate", "Choice", "CostModel", "Selector", "analytic", "choose"]

CostModel = Callable[[Kernel, Problem, Schedule], float]
"""Nanoseconds that a kernel takes for a problem with a schedule: analytic, learned or measured."""


def analytic(kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
    """The kernel's own prediction."""
    return kernel.cost(problem, schedule)


@dataclass(frozen=True)
class Candidate:
    """One kernel considered for a region: its best predicted time, or the reason why it does not apply."""

    kernel: str
    cost_ns: float | None
    schedule: Mapping[str, int]
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """The outcome for one region; ``candidates`` lists every kernel of the registry, best first."""

    kernel: Kernel
    schedule: Schedule
    cost_ns: float
    candidates: tuple[Candidate, ...]


def choose(problem: Problem, cost: CostModel = analytic, only: frozenset[str] | None = None) -> Choice:
    """The cheapest kernel and schedule for ``problem``; raises ``NoKernel`` with every reason when none accepts.

    Args:
        only: names of the kernels to consider (default: all).
    """
    taken: list[tuple[float, str, Schedule]] = []
    refused: list[Candidate] = []
    for name, kernel in KERNELS.items():
        if only is not None and name not in only:
            continue
        reject = kernel.accepts(problem)
        if reject is not None:
            refused.append(Candidate(name, None, {}, reject.reason))
            continue
        ranked = [(cost(kernel, problem, s), i, s) for i, s in enumerate(kernel.schedules(problem))]
        if not ranked:
            refused.append(Candidate(name, None, {}, "no schedule fits"))
            continue
        best, _, schedule = min(ranked, key=lambda r: r[:2])
        taken.append((best, name, schedule))
    if not taken:
        reasons = "; ".join(f"{c.kernel}: {c.reason}" for c in refused)
        types = ", ".join(str(problem.type(v)) for v in problem.region.inputs)
        raise NoKernel(f"{problem.region.label} ({types}): {reasons}", where=problem.anchor.name)
    taken.sort(key=lambda t: t[:2])
    candidates = (*(Candidate(n, c, s) for c, n, s in taken), *refused)
    best, name, schedule = taken[0]
    return Choice(KERNELS[name], schedule, best, candidates)


class Selector:
    """Chooses kernels for the problems of one plan; problems with equal signatures are decided once.

    Args:
        only: names of the kernels to consider (default: all).
    """

    def __init__(self, target: Target, cost: CostModel = analytic, only: frozenset[str] | None = None) -> None:
        self.target = target
        self._cost, self._only = cost, only
        self._choices: dict[str, Choice | NoKernel] = {}

    def choose(self, problem: Problem) -> Choice:
        """The cheapest kernel and schedule; raises ``NoKernel`` with every reason when none accepts."""
        known = self._choices.get(problem.signature)
        if known is None:
            try:
                known = choose(problem, self._cost, self._only)
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
