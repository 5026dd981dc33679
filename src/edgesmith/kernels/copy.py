"""Copies between strided views: what is left of Movement operators that could not become views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.region import Region, region
from edgesmith.ops import Array, Copy, Movement

BYTES_PER_NS = 4.0


def pending_copies(problem: Problem) -> Sequence[Copy] | None:
    """The copies that a Movement node still needs, given where its operands lie; None when strides cannot say it."""
    node = problem.anchor
    assert isinstance(node.op, Movement)
    places = problem.places
    inputs = [places[v].view if v in places else View.dense(problem.type(v)) for v in node.read]
    outputs = [places[v].view for v in node.outputs]
    copies = node.op.copies(inputs, outputs)
    if copies is None:
        return None
    return [
        c
        for c in copies
        if not (
            node.read[c.input] in places
            and places[node.read[c.input]].root == places[node.outputs[c.output]].root
            and c.source.same_place(c.destination)
        )
    ]


@kernel
class StridedCopy(Kernel):
    """Loops over the axes in the destination's order; contiguous innermost runs by memcpy."""

    name: ClassVar[str] = "copy"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Movement):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        node = problem.anchor
        if not isinstance(node.op, Movement) or len(problem.region.nodes) > 1:
            return Reject("moves elements only")
        if any(v in problem.graph.constants for v in node.read):
            return Reject("copies run-time values only")
        if any(v not in problem.region.outputs for v in node.outputs):
            return Reject("an output is not used")
        if pending_copies(problem) is None:
            return Reject("strides cannot express the move")
        return None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        copies = pending_copies(problem) or ()
        return sum(50 + 2 * c.source.size * c.source.dtype.itemsize / BYTES_PER_NS for c in copies)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        arrays = operands(problem)
        node = problem.anchor
        copies = pending_copies(problem) or ()
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("(void)scratch;")
            for array in arrays.values():
                w.line(f"(void){array.pointer};")
            with w.block("if (begin < end)"):
                for c in copies:
                    inside, outside = node.read[c.input], node.outputs[c.output]
                    source = _relative(c.source, problem.places[inside].view, arrays[inside].pointer)
                    destination = _relative(c.destination, problem.places[outside].view, arrays[outside].pointer)
                    _copy(w, source, destination)
        dtype = problem.type(node.outputs[0]).dtype
        return Code(w.text(), f"{node.op.name.lower()}_copy_{dtype}")


def _relative(view: View, base: View, pointer: str) -> Array:
    shift = view.offset - base.offset
    return Array(f"({pointer} + {shift})" if shift else pointer, replace(view, offset=0))


def _copy(w: Writer, source: Array, destination: Array) -> None:
    source, destination = _merged(source, destination)
    axes = list(destination.view.order())
    index = [f"i{a}" for a in range(destination.view.rank)]
    contiguous = axes and source.view.strides[axes[-1]] == destination.view.strides[axes[-1]] == 1
    inner = axes.pop() if contiguous else None
    with w.nest([(index[a], destination.view.shape[a]) for a in axes]):
        if inner is None:
            w.line(f"{destination.at(*index)} = {source.at(*index)};")
        else:
            index[inner] = "0"
            count = destination.view.shape[inner] * destination.view.dtype.itemsize
            w.line(f"memcpy(&{destination.at(*index)}, &{source.at(*index)}, {count});")


def _merged(source: Array, destination: Array) -> tuple[Array, Array]:
    """The same copy with adjacent axes merged where both sides are contiguous across them."""
    order = destination.view.order()
    shape = [destination.view.shape[a] for a in order]
    from_, to = ([a.view.strides[i] for i in order] for a in (source, destination))
    axis = len(shape) - 1
    while axis > 0:
        n = shape[axis]
        if n == 1 or all(s[axis - 1] == n * s[axis] for s in (from_, to)) or shape[axis - 1] == 1:
            keep = axis - 1 if n == 1 and shape[axis - 1] != 1 else axis
            for s in (from_, to):
                s[axis - 1 : axis + 1] = [s[keep]]
            shape[axis - 1 : axis + 1] = [shape[axis - 1] * n]
        axis -= 1
    return tuple(  # type: ignore[return-value]
        replace(a, view=replace(a.view, shape=tuple(shape), strides=tuple(s)))
        for a, s in ((source, from_), (destination, to))
    )
