"""The operator's own portable C99: takes everything, wins nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.region import Region, region
from edgesmith.ops import Array, Operator

STEP_UOPS = 1400.0
UOPS_PER_MAC = 14.0
UOPS_PER_ELEMENT = 21.0
MULTIPLY_ADDS_PER_FLOP = 10.5
"""Time of a float operation, in those of the core's multiply-adds."""


@kernel
class Portable(Kernel):
    """One operator by plain loops."""

    name: ClassVar[str] = "portable"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if len(problem.region.nodes) > 1:
            return Reject("computes single operators only")
        if not isinstance(op, Operator) or type(op).portable is Operator.portable:
            return Reject(f"{op.name} has no portable C")
        return None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        cost = problem.cost
        moved = sum(problem.type(v).size for v in (*problem.region.inputs, *problem.region.outputs))
        core = problem.target.core
        cycles = (STEP_UOPS + UOPS_PER_MAC * cost.macs + UOPS_PER_ELEMENT * moved) / core.uops_per_cycle
        cycles += MULTIPLY_ADDS_PER_FLOP / core.fma_per_cycle * cost.flops
        return cycles / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        node, graph = problem.anchor, problem.graph
        assert isinstance(node.op, Operator)
        arrays = operands(problem)
        constants: list[tuple[str, np.ndarray]] = []
        for value in dict.fromkeys(node.read):
            if value in graph.constants:
                array = np.ascontiguousarray(graph.constants[value])
                name = f"c{len(constants)}"
                constants.append((name, array))
                arrays[value] = Array(name, View.dense(graph.type(value)))
        dead = [v for v in node.outputs if v not in problem.region.outputs]
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem, constants))
            for i, value in enumerate(dead):
                # An output nobody reads still needs somewhere to go.
                arrays[value] = Array(f"unread{i}", View.dense(graph.type(value)))
                w.line(f"{graph.type(value).dtype.c} *const unread{i} = scratch;")
            w.line("(void)scratch;")
            node.op.portable(w, [arrays[v] if v else None for v in node.inputs], [arrays[v] for v in node.outputs])
        types = [graph.type(v) if v else None for v in node.inputs]
        return Code(
            w.text(),
            f"{node.op.name.lower()}_portable_{graph.type(node.outputs[0]).dtype}",
            tuple(array for _, array in constants),
            node.op.tasks(types, graph.output_types(node)),
            sum(graph.type(v).nbytes for v in dead),
            node.op.c_functions(types),
        )
