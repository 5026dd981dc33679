"""Chains of elementwise operators in one loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, const, emit, emit_together, var, vectorizable
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, TensorType, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.cycles import cycles_of, far_cycles
from edgesmith.kernels.lanes import VECTOR_TYPES, load, repeat, store
from edgesmith.kernels.quantized_store import VECTORS_AT_ONCE, Rounding, largest_of
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops import Array, Elementwise

MAX_NODES = 24
TASK_ELEMENTS = 4096
MAX_EXTENT = 2**30
"""Longest loop with a 32-bit index, with room for rounding up to whole tasks."""


def compose(graph: Graph, nodes: Sequence[Node], leaves: Mapping[str, Expr]) -> Expr:
    """The expression of the last of some elementwise nodes over ``leaves``; one-element constants become literals."""
    values = dict(leaves)
    for node in nodes:
        assert isinstance(node.op, Elementwise)
        for v in node.read:
            if v not in values:
                values[v] = const(graph.constants[v].item(), graph.type(v).dtype)
        values[node.outputs[0]] = node.op.expression(*(values[v] for v in node.read))
    return values[nodes[-1].outputs[0]]


def array_constants(graph: Graph, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Constants with more than one element that the nodes read."""
    read = dict.fromkeys(v for n in nodes for v in n.read if v in graph.constants)
    return tuple(v for v in read if graph.constants[v].size > 1)


@kernel
class FusedElementwise(Kernel):
    """One pass over memory for a whole chain; vectors where the innermost axis is contiguous."""

    name: ClassVar[str] = "elementwise"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Elementwise):
            for candidate in epilogue_chains(graph, anchor):
                if len(candidate.nodes) > MAX_NODES:
                    return
                yield candidate

    def accepts(self, problem: Problem) -> Reject | None:
        if not all(isinstance(n.op, Elementwise) for n in problem.region.nodes):
            return Reject("not a chain of elementwise operators")
        if len(problem.region.outputs) != 1:
            return Reject("an intermediate value is needed elsewhere")
        return None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        out = problem.region.outputs[0]
        roots = [problem.places[v].root for v in problem.region.inputs]
        return tuple(
            v
            for v, root in zip(problem.region.inputs, roots, strict=True)
            # Another view of the same buffer might be read after it was overwritten.
            if roots.count(root) == 1
            and problem.view(v).same_place(problem.view(out))
            and problem.type(v) == problem.type(out)
        )

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 20 + _Loop(problem).cycles() / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        loop = _Loop(problem)
        label = "_".join(dict.fromkeys(n.op.name.lower() for n in problem.region.nodes))[:60]
        dtype = problem.type(problem.region.outputs[0]).dtype
        return Code(
            loop.text(),
            f"{label}_elementwise_{dtype}",
            tuple(array for _, array in loop.constants),
            loop.tasks,
            functions=functions_of(loop.expr),
        )


class _Loop:
    """The loop nest of one problem with adjacent axes merged where every operand allows."""

    def __init__(self, problem: Problem) -> None:
        graph, nodes = problem.graph, problem.region.nodes
        self.problem = problem
        out = problem.region.outputs[0]
        y = problem.view(out)
        arrays = operands(problem)
        self.constants: list[tuple[str, np.ndarray]] = []
        for value in array_constants(graph, nodes):
            # Stored in the axis order of the output, so that it streams along with it.
            array, view = like_output(graph.constants[value], y)
            name = f"c{len(self.constants)}"
            self.constants.append((name, array))
            arrays[value] = Array(name, view)
        read = [v for v in arrays if v != out]
        self.expr = compose(graph, nodes, {v: var(arrays[v].pointer, graph.type(v).dtype) for v in read})
        views = [arrays[v].view.broadcast(y.shape) for v in read]
        order = y.order()
        shape, strides = collapse([y.shape[a] for a in order], [[v.strides[a] for a in order] for v in (y, *views)])
        made = [
            Array(arrays[v].pointer, View(tuple(shape), tuple(s), graph.type(v).dtype))
            for v, s in zip((out, *read), strides, strict=True)
        ]
        self.y, self.inputs = made[0], made[1:]
        inner = {a.view.strides[-1] if shape else 1 for a in self.inputs}
        self.vector = bool(
            problem.target.isa
            and shape
            and self.y.view.strides[-1] == 1
            and inner <= {0, 1}
            and all(a.view.dtype in VECTOR_TYPES for a in made)
            and vectorizable(self.expr) is None
            and shape[-1] >= problem.target.lanes // 2
        )
        self.rounding = self._rounding() if self.vector else None
        self.rows, self.inner = math.prod(shape[:-1]), shape[-1] if shape else 1
        self.grain = problem.target.lanes if self.vector else 1
        self.segments = 1
        if self.inner > TASK_ELEMENTS:
            segment = -(-TASK_ELEMENTS // self.grain) * self.grain
            self.segments, self.chunk = -(-self.inner // segment), segment
            self.tasks = self.rows * self.segments
        else:
            self.chunk = max(1, TASK_ELEMENTS // max(self.inner, 1))
            self.tasks = max(1, -(-self.rows // self.chunk))

    def _rounding(self) -> Rounding | None:
        """How results are stored where they are rounded to bytes."""
        arrays = dict(self.constants)
        largest = {a.pointer: largest_of(a.view.dtype, arrays.get(a.pointer)) for a in self.inputs}
        return Rounding.of(self.expr, largest, self.problem.target)

    def cycles(self) -> float:
        """Arithmetic and loads, or the memory beyond the second-level cache, whichever takes longer."""
        target = self.problem.target
        lanes = target.lanes if self.vector else 1
        work = cycles_of(self.expr, target) + 0.5 * len(self.inputs) + 1.0
        total = self.rows * (-(-self.inner // lanes) * work + 4.0)
        sizes = [math.prod(n for n, s in zip(a.view.shape, a.view.strides, strict=True) if s) for a in self.inputs]
        moved = sum(n * a.view.dtype.itemsize for n, a in zip(sizes, self.inputs, strict=True))
        moved += self.y.view.size * self.y.view.dtype.itemsize
        return max(total, far_cycles(moved, target))

    def text(self) -> str:
        w = Writer()
        shape = self.y.view.shape
        index = [f"i{a}" for a in range(len(shape))]
        outer = list(zip(index[:-1], shape[:-1], strict=True))
        with w.block(SIGNATURE):
            w.lines(unpack(self.problem, self.constants))
            w.line("(void)scratch;")
            if not shape:
                with w.block("if (begin < end)"):
                    self._element(w, [])
            elif self.rows == 1:
                self._bounds(w, "begin", "end", self.inner)
                self._inner(w, index, "first", "last")
            elif self.segments > 1:
                with w.block("for (int32_t task = begin; task < end; ++task)"):
                    w.unravel(f"task / {self.segments}" if len(outer) == 1 else f"(task / {self.segments})", outer)
                    w.line(f"const int32_t segment = task % {self.segments};")
                    self._bounds(w, "segment", "(segment + 1)", self.inner)
                    self._inner(w, index, "first", "last")
            else:
                self._bounds(w, "begin", "end", self.rows)
                with w.block(f"for ({index_type(self.rows)} row = first; row < last; ++row)"):
                    w.unravel("row", outer)
                    self._inner(w, index, "0", str(self.inner))
        return w.text()

    def _bounds(self, w: Writer, begin: str, end: str, count: int) -> None:
        """Write ``first`` and ``last``, the range of ``count`` things that pieces ``begin`` to ``end`` cover."""
        if self.rows == 1 and self.segments == 1:
            w.line(f"const int32_t first = {begin} * {count};")
            w.line(f"const int32_t last = {end} * {count};")
            return
        kind = index_type(count)
        wide = f"({kind})" if kind != "int32_t" else ""
        w.line(f"const {kind} first = {wide}{begin} * {self.chunk};")
        stop = f"{wide}{end} * {self.chunk}"
        w.line(f"const {kind} last = {stop} < {count} ? {stop} : {count};")

    def _inner(self, w: Writer, index: list[str], first: str, last: str) -> None:
        i, lanes, kind = index[-1], self.problem.target.lanes, index_type(self.inner)
        if not self.vector:
            with w.block(f"for ({kind} {i} = {first}; {i} < {last}; ++{i})"):
                self._element(w, index)
            return
        w.line(f"{kind} {i} = {first};")
        if self.rounding and self.y.view.shape[-1] >= VECTORS_AT_ONCE * lanes:
            some = VECTORS_AT_ONCE * lanes
            with w.block(f"for (; {i} + {some} <= {last}; {i} += {some})"):
                neighbours = [[*index[:-1], f"({i} + {k * lanes})"] for k in range(VECTORS_AT_ONCE)]
                copies = [self._leaves(at, None) for at in neighbours]
                values = emit_together(self.rounding.value, copies, w, vector=True)
                w.line(self.rounding.store(f"&{self.y.at(*index)}", values))
        with w.block(f"for (; {i} + {lanes} <= {last}; {i} += {lanes})"):
            value = self._vector(w, index, None)
            w.line(store(self.y.view.dtype, f"&{self.y.at(*index)}", value))
        count = self.y.view.shape[-1]
        if count % lanes:
            with w.block(f"if ({i} < {last})"):
                value = self._vector(w, index, f"{last} - {i}")
                w.line(store(self.y.view.dtype, f"&{self.y.at(*index)}", value, f"{last} - {i}"))

    def _vector(self, w: Writer, index: list[str], lanes: str | None) -> str:
        """``lanes``: number of elements of a partial vector."""
        return emit(self.expr, self._leaves(index, lanes), w, vector=True)

    def _leaves(self, index: list[str], lanes: str | None) -> dict[str, str]:
        """C text of each variable of the expression, in vectors."""
        leaves = {}
        for a in self.inputs:
            element, dtype = a.at(*index), a.view.dtype
            whole = a.view.strides[-1] == 1
            leaves[a.pointer] = load(dtype, f"&{element}", lanes) if whole else repeat(dtype, element)
        return leaves

    def _element(self, w: Writer, index: list[str]) -> None:
        value = emit(self.expr, {a.pointer: a.at(*index) for a in self.inputs}, w)
        w.line(f"{self.y.at(*index)} = {value};")


def index_type(count: int) -> str:
    """C type of an index of so many things, and of the end of the last task's share of them."""
    return "int32_t" if count <= MAX_EXTENT else "ptrdiff_t"


def like_output(array: np.ndarray, y: View) -> tuple[np.ndarray, View]:
    """A constant rearranged so that its axes lie in memory in the order of ``y``, and the view of it."""
    lead = y.rank - array.ndim
    order = [a - lead for a in y.order() if a >= lead]
    packed = np.ascontiguousarray(array.transpose(order))
    view = View.dense(TensorType.of(array), order)
    return packed.reshape(-1), view


def collapse(shape: list[int], strides: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Drop axes of length 1 and merge neighbours across which all operands step evenly, up to ``MAX_EXTENT``."""
    keep = [a for a, n in enumerate(shape) if n != 1]
    shape, strides = [shape[a] for a in keep], [[s[a] for a in keep] for s in strides]
    a = len(shape) - 1
    while a > 0:
        if shape[a - 1] * shape[a] <= MAX_EXTENT and all(s[a - 1] == s[a] * shape[a] for s in strides):
            shape[a - 1 : a + 1] = [shape[a - 1] * shape[a]]
            for s in strides:
                s[a - 1 : a + 1] = [s[a]]
        a -= 1
    return shape, strides
