"""Averages of bytes over whole images, for processors without vectors."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.region import Region, region
from edgesmith.ops.global_average_pool import GlobalAveragePool

ELEMENT_CYCLES = 1.0
CHANNEL_CYCLES = 8.0
EXACT_SUM = 1 << 24
"""Sums up to this size are numbers of f32."""


@kernel
class IntegerMean(Kernel):
    """A global average together with the DequantizeLinear before it: floats of the image never exist."""

    name: ClassVar[str] = "integer-mean"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        before = graph.producer(anchor.inputs[0]) if isinstance(anchor.op, GlobalAveragePool) else None
        if before is not None and before.op.name == "DequantizeLinear" and graph.sole_consumer(before.outputs[0]):
            yield region(graph, (before, anchor), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        nodes = problem.region.nodes
        if [n.op.name for n in nodes] != ["DequantizeLinear", "GlobalAveragePool"]:
            return Reject("averages integers over whole images only")
        if problem.target.lanes > 1:
            return Reject(f"adds one number at a time; the target has vectors of {problem.target.lanes}")
        value, scale, *zero = nodes[0].inputs
        constants, dtype = problem.graph.constants, problem.type(value).dtype
        if value in constants or any(v not in constants for v in (scale, *filter(None, zero))):
            return Reject("scale and zero point are computed at run time")
        if constants[scale].size != 1 or constants[scale].item() != 1.0:
            return Reject("integers have a scale")
        if len(problem.region.outputs) != 1 or problem.type(value).rank != 4:
            return Reject("needs images of two axes")
        if dtype.itemsize != 1 or 512 * prod(problem.type(value).shape[2:]) > EXACT_SUM:
            return Reject("sums of bytes may not be exact in f32")
        return None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        n, c, h, w = problem.type(problem.region.inputs[0]).shape
        return n * c * (h * w * ELEMENT_CYCLES + CHANNEL_CYCLES) / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        x, y = problem.view(problem.region.inputs[0]), problem.view(problem.region.outputs[0])
        zero = problem.region.nodes[0].inputs[2:]
        point = int(problem.graph.constants[zero[0]].item()) if zero and zero[0] else 0
        n, c, height, width = x.shape
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [("n", n), ("channel", c)])
                position = [(0, "n"), (1, "channel")]
                w.line(f"const {x.dtype.c} *const from = x0 + {strided(x, position)};")
                w.line(f"int32_t sum = {-point * height * width};")
                with w.nest([("i", height), ("j", width)]):
                    w.line(f"sum += from[{strided(x, [(2, 'i'), (3, 'j')])}];")
                w.line(f"y0[{strided(y, position)}] = (float)sum / {height * width}.0f;")
        return Code(w.text(), f"globalaveragepool_mean_{x.dtype}", tasks=n * c)
