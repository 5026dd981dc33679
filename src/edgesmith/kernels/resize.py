"""Resize with vectors over the channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.cycles import far_cycles
from edgesmith.kernels.region import Region, region
from edgesmith.ops.resize import NearestResize, Resize
from edgesmith.ops.sampling import Taps

MOST_TAPS = 16


@kernel
class VectorResize(Kernel):
    """Each output pixel is a weighted sum of input pixels, found through tables; linear, cubic and nearest."""

    name: ClassVar[str] = "resize"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Resize | NearestResize):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if not isinstance(op, Resize | NearestResize) or len(problem.region.nodes) > 1:
            return Reject("computes Resize alone")
        if problem.target.isa is None:
            return Reject("needs vectors; the target is portable C")
        if not problem.region.inputs or problem.type(problem.region.inputs[0]).dtype is not DType.F32:
            return Reject("its input is constant or not f32")
        x, y = problem.view(problem.region.inputs[0]), problem.view(problem.region.outputs[0])
        if x.rank < 3 or x.strides[1] != 1 or y.strides[1] != 1:
            return Reject(f"the channels of {x} are not innermost")
        axes = op.sampling.resolve(x.shape)
        if not all(a.is_identity for a in axes[:2]):
            return Reject("resizes batch or channels")
        tables = _tables(problem)
        if not all(t.taps.inside.all() for t in tables):
            return Reject("extrapolates outside the input")
        count = math.prod(t.count for t in tables)
        return Reject(f"{count} taps an element; up to {MOST_TAPS} fit") if count > MOST_TAPS else None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        y = problem.type(problem.region.outputs[0])
        taps = math.prod(t.count for t in _tables(problem))
        pixels = y.size // max(y.shape[1], 1)
        vectors = -(-y.shape[1] // problem.target.lanes)
        cycles = pixels * (4.0 + 2.0 * taps + vectors * (1.5 + 0.7 * taps))
        return 50 + max(cycles, far_cycles(problem.bytes_moved, problem.target)) / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        x, y = (operands(problem)[v] for v in (*problem.region.inputs, *problem.region.outputs))
        tables, shape, lanes = _tables(problem), y.view.shape, problem.target.lanes
        constants = [c for t in tables for c in t.constants(x.view)]
        weighted = any(t.count > 1 for t in tables)
        source = ["n", "0", *(f"o{a}" for a in range(2, len(shape)))]
        for t in tables:
            source[t.axis] = "0"
        index = [f"o{a}" for a in range(2, len(shape))]
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem, constants))
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", (("n", shape[0]), ("o2", shape[2])))
                with w.nest(list(zip(index[1:], shape[3:], strict=True))):
                    names = []
                    for i, tap in enumerate(itertools.product(*(range(t.count) for t in tables))):
                        at = [t.entry("places", k) for t, k in zip(tables, tap, strict=True)]
                        w.line(f"const float *const s{i} = &{' + '.join([x.at(*source)[:-1], *at])}];")
                        if weighted:
                            factors = [t.entry("weights", k) for t, k in zip(tables, tap, strict=True) if t.count > 1]
                            w.line(f"const es_v w{i} = es_set1({' * '.join(factors)});")
                        names.append(f"s{i}")
                    self._channels(w, names, weighted, y.at("n", "0", *index), shape[1], lanes)
        op = problem.anchor.op
        assert isinstance(op, Resize | NearestResize)
        label = f"resize_{op.sampling.mode}_f32"
        return Code(w.text(), label, tuple(array for _, array in constants), shape[0] * shape[2])

    def _channels(self, w: Writer, sources: list[str], weighted: bool, y: str, channels: int, lanes: int) -> None:
        w.line(f"float *const y = &{y};")
        whole = channels // lanes * lanes
        for count, head in ((None, "loop"), (channels % lanes, "")):
            if count == 0 or (count is None and not whole):
                continue
            with w.loop("c", whole, 0, lanes) if head else w.block(""):
                if not head:
                    w.line(f"enum {{ c = {whole} }};")
                loads = [f"es_load_n({s} + c, {count})" if count else f"es_load({s} + c)" for s in sources]
                if weighted:
                    w.line(f"es_v sum = {loads[0]} * w0;")
                    for i, load in enumerate(loads[1:], 1):
                        w.line(f"sum = es_fma({load}, w{i}, sum);")
                value = "sum" if weighted else loads[0]
                w.line(f"es_store_n(y + c, {value}, {count});" if count else f"es_store(y + c, {value});")


@dataclass(frozen=True, eq=False)
class _Table:
    """How one axis is sampled."""

    axis: int
    taps: Taps

    @property
    def count(self) -> int:
        return int(self.taps.places.shape[1])

    def constants(self, x: View) -> list[tuple[str, np.ndarray]]:
        """Offsets in elements and weights, for each output and tap."""
        places = (self.taps.places * x.strides[self.axis]).astype(np.int32).reshape(-1)
        found = [(f"places{self.axis}", places)]
        return found + ([(f"weights{self.axis}", self.taps.weights.reshape(-1))] if self.count > 1 else [])

    def entry(self, table: str, tap: int) -> str:
        """C text of the entry of a tap for the output at hand."""
        index = f"o{self.axis}" if self.count == 1 else f"{self.count} * o{self.axis}"
        return f"{table}{self.axis}[{index} + {tap}]" if tap else f"{table}{self.axis}[{index}]"


def _tables(problem: Problem) -> list[_Table]:
    op, x = problem.anchor.op, problem.type(problem.anchor.inputs[0])
    assert isinstance(op, Resize | NearestResize)
    axes = enumerate(op.sampling.resolve(x.shape))
    return [_Table(a, op.sampling.sample(axis)) for a, axis in axes if not axis.is_identity]
