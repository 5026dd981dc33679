"""The plan: steps with their kernels, and buffers with their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Graph, Node, Patch, View, apply
from edgesmith.kernels import Code, Kernel, Place, Problem, Region, Schedule
from edgesmith.kernels.copy import pending_copies
from edgesmith.ops import OPS, Movement, Operator
from edgesmith.plan.arena import Arena, Lifetime, allocate
from edgesmith.plan.cover import cover, proposals
from edgesmith.plan.layout import Layout, channels_last
from edgesmith.plan.select import Choice, CostModel, Selector, analytic
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
        copies: movement nodes that are steps, with the reason.
    """

    graph: Graph
    target: Target
    steps: tuple[Step, ...]
    places: Mapping[str, Place]
    buffers: Mapping[str, Buffer]
    arena: Arena
    free: Mapping[str, str]
    copies: Mapping[str, str]

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
    selector = Selector(target, cost, None if only is None else frozenset(only))
    regions, layout = _regions(graph, selector)
    places = layout.places()
    steps: list[Step] = []
    free: dict[str, str] = {}
    for i, region in enumerate(regions):
        problem = Problem(graph, region, places, target)
        if isinstance(region.anchor.op, Movement) and not _needs_step(problem):
            free[region.anchor.name] = layout.notes.get(region.anchor.name, "free")
        else:
            steps.append(_step(problem, selector))
        if progress:
            progress(i + 1, len(regions))
    buffers, arena = _allocate(graph, steps, places)
    copies = {s.name: layout.notes[s.name] for s in steps if s.name in layout.notes}
    return Plan(graph, target, tuple(steps), places, buffers, arena, free, copies)


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


def _needs_step(problem: Problem) -> bool:
    node = problem.anchor
    if any(v in problem.graph.constants for v in node.read):
        return True
    if all(v in problem.places for v in node.outputs):
        return pending_copies(problem) != []
    return True


def _step(problem: Problem, selector: Selector) -> Step:
    choice = selector.choose(problem)
    return Step(problem.region, problem, choice, choice.kernel.emit(problem, choice.schedule))


def own_memory(graph: Graph) -> Graph:
    """Give graph outputs a copy step where their producer would not write row-major memory.

    Raises:
        UnsupportedOp: an output is an input; the two would have to share their memory.
    """
    inner = {v: _unused(graph, f"{v}:inner") for v in dict.fromkeys(graph.outputs) if _needs_copy(graph, v)}
    if not inner:
        return graph
    identity = OPS["Identity"]()
    changed = dict.fromkeys(n for v in inner for n in (graph.producer(v), *graph.consumers[v]) if n is not None)
    moved = [Node(n.name, n.op, _renamed(n.inputs, inner), _renamed(n.outputs, inner), n.origin) for n in changed]
    copies = []
    for value, source in inner.items():
        producer = graph.producer(value)
        origin = producer.origin if producer else ()
        copies.append(Node(_unused(graph, f"{value}:copy"), identity, (source,), (value,), origin))
    constants = {inner[v]: a for v, a in graph.constants.items() if v in inner}
    return apply(graph, [Patch("own-memory", frozenset(n.name for n in changed), (*moved, *copies), constants)])


def _needs_copy(graph: Graph, value: str) -> bool:
    node, shape = graph.producer(value), graph.type(value).shape
    if node is None:
        if value in graph.inputs:
            raise UnsupportedOp("the output is an input of the model", where=value, hint="put an Identity node between")
        return True
    assert isinstance(node.op, Operator)
    if node.op.layout == "row_major" or (isinstance(node.op, Movement) and len(node.read) == 1):
        return False
    return View.dense(graph.type(value), channels_last(len(shape))).order() != tuple(range(len(shape)))


def _unused(graph: Graph, name: str) -> str:
    while name in graph.types or name in graph.position:
        name += "_"
    return name


def _renamed(values: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(v, v) for v in values)


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
    taken: set[str] = set()
    for i, step in enumerate(steps):
        for out in step.region.outputs:
            mine = places[out].root
            if mine not in roots or mine in host or mine != out:
                continue
            others = [places[v].root for v in (*step.region.inputs, *step.region.outputs) if v != out]
            for value in step.kernel.in_place(step.problem):
                theirs = places[value].root
                free = theirs in roots and theirs not in taken and last[theirs] == i
                whole = places[value].view.size == places[theirs].view.size == places[out].view.size
                # Another operand in the same memory would be read after it is overwritten.
                if free and whole and others.count(theirs) == 1:
                    host[mine] = host.get(theirs, theirs)
                    taken.add(theirs)
                    break
    return host
