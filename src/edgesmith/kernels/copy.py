"""Copies between strided views: what is left of Movement operators that could not become views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.move import Move, Moves
from edgesmith.kernels.region import Region, region
from edgesmith.ops import Array, Copy, Movement


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
    """Runs by vectors or memcpy, transpositions in registers, everything else element by element."""

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
        return 20 + sum(move.nanoseconds for move in _moves(problem))

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        node, moves = problem.anchor, Moves.together(_moves(problem))
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("(void)scratch;")
            for array in operands(problem).values():
                w.line(f"(void){array.pointer};")
            tasks = 0
            for move in moves:
                if len(moves) == 1:
                    move.write(w, "begin", "end")
                else:
                    first, last = tasks, tasks + move.pieces
                    with w.block(f"if (begin < {last} && end > {first})"):
                        w.line(f"const int32_t from = begin > {first} ? begin - {first} : 0;")
                        w.line(f"const int32_t to = end < {last} ? end - {first} : {move.pieces};")
                        move.write(w, "from", "to")
                tasks += move.pieces
            if not moves:
                w.line("(void)begin, (void)end;")
        forms = "_".join(dict.fromkeys(form for m in moves for form in m.forms)) or "nothing"
        dtype = problem.type(node.outputs[0]).dtype
        costs = tuple(nbytes for move in moves for nbytes in move.piece_bytes)
        unequal = costs if len(set(costs)) > 1 else ()
        return Code(w.text(), f"{node.op.name.lower()}_{forms}_{dtype}", tasks=max(tasks, 1), task_costs=unequal)


def _moves(problem: Problem) -> list[Move]:
    arrays, node = operands(problem), problem.anchor
    moves = []
    for c in pending_copies(problem) or ():
        inside, outside = node.read[c.input], node.outputs[c.output]
        if not c.source.size:
            continue
        moves.append(
            Move(
                _relative(c.source, problem.places[inside].view, arrays[inside].pointer),
                _relative(c.destination, problem.places[outside].view, arrays[outside].pointer),
                problem.target,
            )
        )
    return moves


def _relative(view: View, base: View, pointer: str) -> Array:
    shift = view.offset - base.offset
    return Array(f"({pointer} + {shift})" if shift else pointer, replace(view, offset=0))
