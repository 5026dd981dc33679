"""The plan: steps with their kernels, and buffers with their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edgesmith.ir import Graph, Node, Patch, View, apply
from edgesmith.kernels import Code, Kernel, Place, Problem, Region, Schedule
from edgesmith.kernels.copy import pending_copies
from edgesmith.ops import OPS, Movement, Operator
from edgesmith.plan.arena import Arena, Lifetime, allocate
from edgesmith.plan.cover import cover
from edgesmith.plan.layout import Layout, channels_last
from edgesmith.plan.select import Choice, CostModel, analytic, choose
from edgesmith.target import Target

__all__ = ["Buffer", "Plan", "Space", "Step", "make_plan", "own_memory"]


class Space(IntEnum):
    """The memory that an operand lies in; the numbers appear in generated C."""

    ARENA = 0
    WEIGHTS = 1
    PREPARED = 2
    INPUT = 3
    OUTPUT = 4


@dataclass(frozen=True)
class Buffer:
    """Where a root value lies: byte offset in the arena, or index among the program's inputs or outputs."""

    space: Space
    at: int
    nbytes: int


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a kernel function."""

    region: Region
    problem: Problem
    choice: Choice
    code: Code

    @property
    def name(self) -> str:
        return self.region.anchor.name

    @property
    def kernel(self) -> Kernel:
        return self.choice.kernel

    @property
    def schedule(self) -> Schedule:
        return self.choice.schedule


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that codegen needs.

    Args:
        places: view of each value that crosses a step's border.
        buffers: place in memory of each root value.
        free: movement nodes that became views, with the reason.
    """

    graph: Graph
    target: Target
    steps: tuple[Step, ...]
    places: Mapping[str, Place]
    buffers: Mapping[str, Buffer]
    arena: Arena
    free: Mapping[str, str]

    @property
    def scratch_bytes(self) -> int:
        """Memory of one worker."""
        return max((-(-s.code.scratch_bytes // 64) * 64 for s in self.steps), default=0)


def make_plan(
    graph: Graph,
    target: Target,
    cost: CostModel = analytic,
    only: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Cover the graph with kernels, place its values and order the steps.

    Args:
        cost: predicted or measured time of a kernel.
        only: names of the kernels that may be used (default: all).
        progress: called with (steps done, steps in all).

    Raises:
        NoKernel: some operator has no kernel on this target.
    """
    graph = own_memory(graph)
    allowed = None if only is None else frozenset(only)
    regions = cover(graph, target, cost, allowed)
    layout = Layout(graph, regions)
    places = layout.places()
    steps: list[Step] = []
    free: dict[str, str] = {}
    for i, region in enumerate(regions):
        problem = Problem(graph, region, places, target)
        if isinstance(region.anchor.op, Movement) and not _needs_step(problem):
            free[region.anchor.name] = layout.notes.get(region.anchor.name, "free")
        else:
            steps.append(_step(problem, cost, allowed))
        if progress:
            progress(i + 1, len(regions))
    buffers, arena = _allocate(graph, steps, places)
    return Plan(graph, target, tuple(steps), places, buffers, arena, free)


def _needs_step(problem: Problem) -> bool:
    node = problem.anchor
    if any(v in problem.graph.constants for v in node.read):
        return True
    if all(v in problem.places for v in node.outputs):
        return pending_copies(problem) != []
    return True


def _step(problem: Problem, cost: CostModel, only: frozenset[str] | None) -> Step:
    choice = choose(problem, cost, only)
    return Step(problem.region, problem, choice, choice.kernel.emit(problem, choice.schedule))


def own_memory(graph: Graph) -> Graph:
    """Give graph outputs a copy step where their producer would not write row-major memory, or shares its place."""
    identity = OPS["Identity"]
    patches = []
    for value in dict.fromkeys(graph.outputs):
        node = graph.producer(value)
        shape = graph.type(value).shape
        if node is None:
            continue
        assert isinstance(node.op, Operator)
        order = View.dense(graph.type(value), channels_last(len(shape))).order()
        image = node.op.layout != "row_major" and order != tuple(range(len(shape)))
        if image and type(node.op) is not identity:
            inner = f"{value}:inner"
            moved = Node(
                node.name, node.op, node.inputs, tuple(inner if v == value else v for v in node.outputs), node.origin
            )
            copy = Node(f"{value}:copy", identity(), (inner,), (value,), node.origin)
            patches.append((value, inner, moved, copy))
    for value, inner, moved, copy in patches:
        readers = [
            Node(n.name, n.op, tuple(inner if v == value else v for v in n.inputs), n.outputs, n.origin)
            for n in {n.name: n for n in graph.consumers[value]}.values()
        ]
        graph = apply(
            graph,
            [Patch("own-memory", frozenset({moved.name, *(r.name for r in readers)}), (moved, copy, *readers))],
        )
    return graph


def _allocate(graph: Graph, steps: list[Step], places: Mapping[str, Place]) -> tuple[dict[str, Buffer], Arena]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        for value in (*step.region.inputs, *step.region.outputs):
            root = places[value].root
            first.setdefault(root, i)
            last[root] = i
    outside = {v: Buffer(Space.INPUT, i, graph.type(v).nbytes) for i, v in enumerate(graph.inputs)}
    outside |= {v: Buffer(Space.OUTPUT, i, graph.type(v).nbytes) for i, v in enumerate(graph.outputs)}
    roots = {r for r in first if r not in outside}
    shared = _in_place(steps, places, last, roots)
    merged: dict[str, Lifetime] = {}
    for root in sorted(roots, key=lambda r: (first[r], r)):
        host = shared.get(root, root)
        nbytes = graph.type(root).nbytes
        if host in merged:
            old = merged[host]
            merged[host] = Lifetime(max(old.nbytes, nbytes), min(old.first, first[root]), max(old.last, last[root]))
        else:
            merged[host] = Lifetime(nbytes, first[root], last[root])
    arena = allocate(merged)
    inside = {r: Buffer(Space.ARENA, arena.offsets[shared.get(r, r)], graph.type(r).nbytes) for r in roots}
    return {**inside, **outside}, arena


def _in_place(
    steps: list[Step], places: Mapping[str, Place], last: Mapping[str, int], roots: set[str]
) -> dict[str, str]:
    """Root -> the root whose memory it takes over, because a kernel may overwrite that input element by element."""
    host: dict[str, str] = {}
    for i, step in enumerate(steps):
        for out in step.region.outputs:
            mine = places[out].root
            if mine not in roots or mine in host or mine != out:
                continue
            for value in step.kernel.in_place(step.problem):
                theirs = places[value].root
                free = theirs in roots and theirs != mine and last[theirs] == i
                others = {places[v].root for v in step.region.outputs if v != out}
                whole = places[value].view.size == places[theirs].view.size == places[out].view.size
                if free and whole and theirs not in others:
                    host[mine] = host.get(theirs, theirs)
                    break
    return host
