"""The plan: the graph covered with kernels, its values in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgesmith.ir import Graph
from edgesmith.kernels import Place, Problem, Region
from edgesmith.kernels.copy import pending_copies
from edgesmith.ops import Movement
from edgesmith.plan.arena import Arena
from edgesmith.plan.cover import cover, proposals
from edgesmith.plan.layout import Layout
from edgesmith.plan.lock import Lock, LockedStep
from edgesmith.plan.memory import Buffer, place_buffers
from edgesmith.plan.outputs import own_memory
from edgesmith.plan.patches import Patching, divided
from edgesmith.plan.select import CostModel, Selector, analytic
from edgesmith.plan.step import Step
from edgesmith.target import Target

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that codegen needs.

    Args:
        places: view of each value that crosses a step's border.
        buffers: place in memory of each root value.
        free: movement nodes that became views, with the reason.
        copies: movement nodes that are steps, with the reason.
        patching: what is computed patch by patch; None: nothing.
        tried: what was planned beside it to need less memory, with what that needs.
    """

    graph: Graph
    target: Target
    steps: tuple[Step, ...]
    places: Mapping[str, Place]
    buffers: Mapping[str, Buffer]
    arena: Arena
    free: Mapping[str, str]
    copies: Mapping[str, str]
    patching: Patching | None = None
    tried: tuple[str, ...] = ()

    @property
    def lock(self) -> Lock:
        """The choices as data; ``make_plan`` with it gives this plan again."""

        def locked(s: Step) -> LockedStep:
            return LockedStep(tuple(n.name for n in s.region.nodes), s.name, s.kernel.name, dict(s.schedule))

        return Lock(str(self.target), tuple(map(locked, self.steps)), self.patching)

    @property
    def scratch_bytes(self) -> int:
        """Memory of one worker."""
        return max((-(-s.code.scratch_bytes // 64) * 64 for s in self.steps), default=0)


def make_plan(
    graph: Graph,
    target: Target,
    cost: CostModel = analytic,
    only: Sequence[str] | None = None,
    lock: Lock | None = None,
    progress: Callable[[int, int], None] | None = None,
    patching: Patching | None = None,
    selector: Selector | None = None,
) -> Plan:
    """Cover the graph with kernels, place its values and order the steps.

    Args:
        cost: predicted or measured time of a kernel.
        only: names of the kernels that may be used (default: all).
        lock: choices of an earlier plan, which then decide instead of ``cost``.
        progress: called with (steps done, steps in all).
        patching: what to compute patch by patch, where there is no lock.
        selector: in the place of ``cost`` and ``only``; it remembers what it decided for other plans.

    Raises:
        NoKernel: some operator has no kernel on this target.
        BadInput: the lock does not fit the graph or the target.
    """
    patching = lock.patching if lock else patching
    graph = own_memory(graph)
    graph = divided(graph, patching) if patching else graph
    selector = selector or Selector(target, cost, None if only is None else frozenset(only))
    regions, layout = _regions(graph, selector) if lock is None else _locked(graph, target, lock)
    places = layout.places()
    steps: list[Step] = []
    free: dict[str, str] = {}
    for i, region in enumerate(regions):
        problem = Problem(graph, region, places, target)
        if isinstance(region.anchor.op, Movement) and not _needs_step(problem):
            free[region.anchor.name] = layout.notes.get(region.anchor.name, "free")
        else:
            choice = selector.choose(problem) if lock is None else lock.choice(problem)
            code = choice.kernel.emit(problem, choice.schedule)
            assert choice.kernel.prepares(problem, choice.schedule) or not code.prepared_bytes, choice.kernel.name
            steps.append(Step(region, problem, choice, code, selector.considered(problem, choice)))
        if progress:
            progress(i + 1, len(regions))
    buffers, arena = place_buffers(graph, steps, places)
    copies = {s.name: layout.notes[s.name] for s in steps if s.name in layout.notes}
    return Plan(graph, target, tuple(steps), places, buffers, arena, free, copies, patching)


def _regions(graph: Graph, selector: Selector) -> tuple[tuple[Region, ...], Layout]:
    """A cover and its layout, in which every region has a kernel.

    Regions are proposed before values have places; one that no kernel takes where its operands finally lie is dropped,
    and the rest is covered again.
    """
    proposed = proposals(graph, selector)
    while True:
        regions = cover(graph, proposed)
        layout = Layout(graph, regions)
        places = layout.places()
        fused = [r for r in regions if len(r.nodes) > 1]
        lost = {r.names for r in fused if not selector.accepts(Problem(graph, r, places, selector.target))}
        if not lost:
            return regions, layout
        proposed = tuple(p for p in proposed if p.region.names not in lost)


def _locked(graph: Graph, target: Target, lock: Lock) -> tuple[tuple[Region, ...], Layout]:
    regions = lock.regions(graph, target)
    return regions, Layout(graph, regions)


def _needs_step(problem: Problem) -> bool:
    node = problem.anchor
    if any(v in problem.graph.constants for v in node.read):
        return True
    if all(v in problem.places for v in node.outputs):
        return pending_copies(problem) != []
    return True
