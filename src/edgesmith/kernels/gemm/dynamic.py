"""Matrix product of two operands computed at run time, as in attention: panels of the second are packed in scratch.

Each task packs one panel, then takes all rows of the first operand through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.gemm.blocking import Blocking, Extents, good_tiles
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, Segment, TileShape, accumulate, declare, pack_bias
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

STEP_NS = 80.0
TILES_KEPT = 6
COPY_CYCLES = 1.5
"""Of packing one vector that lies side by side."""
GATHER_CYCLES = 1.2
"""Of packing one element that does not."""


class RunTimeProduct:
    """The products Y (..., rows, channels) = A (..., rows, steps) B (..., steps, channels) behind a problem.

    When ``reject`` says why there are none, nothing else is defined.
    """

    a: View
    b: View
    y: View
    bias: np.ndarray | None
    epilogue: Epilogue

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.reject = self._operands()
        if self.reject is None:
            self.epilogue = Epilogue(problem, self.y.rank - 1)
            self.reject = self.epilogue.reject

    def _operands(self) -> str | None:
        problem, node, graph = self.problem, self.problem.anchor, self.problem.graph
        op = node.op
        if problem.target.isa is None:
            return "needs vectors, the target is portable C"
        if not isinstance(op, Gemm | MatMul):
            return f"{op.name} is not a matrix product"
        if any(v in graph.constants for v in node.read[:2]):
            return "an operand is constant"
        if any(problem.type(v).dtype is not DType.F32 for v in node.read):
            return f"{problem.type(node.inputs[0]).dtype}, computes f32"
        a, b = (problem.view(v) for v in node.inputs[:2])
        if min(a.rank, b.rank) < 2:
            return "an operand is a vector"
        if not a.size or not b.size:
            return "no elements"
        self.bias = None
        if isinstance(op, Gemm):
            bias = graph.constants.get(node.inputs[2]) if len(node.read) > 2 else None
            if len(node.read) > 2 and bias is None:
                return "C is computed at run time"
            if op.alpha != 1:
                return f"alpha is {op.alpha}, needs 1"
            if bias is not None and bias.size > 1 and bias.shape[-1:] != (bias.size,):
                return f"C of shape {bias.shape} differs from row to row"
            a, b = a.transpose((1, 0)) if op.transA else a, b.transpose((1, 0)) if op.transB else b
            if bias is not None:
                self.bias = np.broadcast_to(np.float32(op.beta) * bias.reshape(-1), b.shape[-1:])
        self.y = problem.view(problem.region.outputs[0])
        outer = self.y.shape[:-2]
        self.a, self.b = a.broadcast((*outer, *a.shape[-2:])), b.broadcast((*outer, *b.shape[-2:]))
        if self.channels > 1 and self.y.strides[-1] != 1:
            return f"columns of the result have stride {self.y.strides[-1]}, vectors need 1"
        return None

    @property
    def rows(self) -> int:
        return self.y.shape[-2]

    @property
    def channels(self) -> int:
        return self.y.shape[-1]

    @property
    def steps(self) -> int:
        return self.a.shape[-1]

    @property
    def slices(self) -> tuple[int, ...]:
        return self.y.shape[:-2]

    @property
    def extents(self) -> Extents:
        a = self.a.strides
        return Extents(self.problem.target, self.rows, self.channels, self.steps, a[-2], a[-1], prod(self.slices))


@lru_cache(maxsize=8)
def _product(problem: Problem) -> RunTimeProduct:
    return RunTimeProduct(problem)


@kernel
class DynamicGemm(Kernel):
    """Rows of one run-time operand times panels of the other."""

    name: ClassVar[str] = "dynamic-gemm"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = _product(problem).reject
        return Reject(reason) if reason else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [{"rows": t.rows, "vectors": t.vectors} for t in good_tiles(_product(problem).extents)[:TILES_KEPT]]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        p, lanes = _product(problem), problem.target.lanes
        tile = TileShape(schedule["rows"], schedule["vectors"])
        blocking = Blocking(tile, p.steps, RowTiles.of(p.rows, tile.rows).count, 1, packed=False)
        vectors = p.steps * -(-p.channels // lanes)
        packing = vectors * (COPY_CYCLES if p.b.strides[-1] == 1 else GATHER_CYCLES * lanes)
        return STEP_NS + (blocking.cycles(p.extents) + prod(p.slices) * packing) / problem.target.gigahertz

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return _product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(_product(problem), TileShape(schedule["rows"], schedule["vectors"])).code()


class _Emitter:
    def __init__(self, product: RunTimeProduct, tile: TileShape) -> None:
        self.p, self.tile = product, tile
        self.lanes = product.problem.target.lanes
        self.panels = Panels(product.channels, self.lanes, tile.vectors)
        self.rows = RowTiles.of(product.rows, tile.rows)
        self.width = tile.vectors * self.lanes

    def code(self) -> Code:
        p, nodes = self.p, self.p.problem
        constants = [("bias", pack_bias(p.bias, self.panels)), *p.epilogue.constants]
        left, right = (f"x{nodes.region.inputs.index(v)}" for v in nodes.anchor.inputs[:2])
        w = Writer()
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            self._pack(w, variant, vectors, tail)
            for rows, _ in self.rows.heights:
                self._tile(w, variant, rows, vectors, tail)
        slices = [(f"slice{i}", n) for i, n in enumerate(p.slices)]
        outer = [(axis, name) for axis, (name, _) in enumerate(slices)]
        with w.block(SIGNATURE):
            w.lines(unpack(nodes, constants))
            w.line("float *const packed = (float *)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [*slices, ("panel", self.panels.count)])
                w.line(f"const float *const a = {left} + {strided(p.a, outer)};")
                column = (p.b.rank - 1, f"panel * {self.width}")
                w.line(f"const float *const b = {right} + {strided(p.b, [*outer, column])};")
                self.panels.write_variants(w, "panel", lambda variant: self._panel(w, variant, outer))
        op = nodes.anchor.op.name.lower()
        label = f"{op}_dynamic_f32{p.epilogue.label}_{self.tile.rows}x{self.tile.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            prod(p.slices) * self.panels.count,
            scratch_bytes=max(p.steps, 1) * self.width * FLOAT_BYTES,
            functions=p.epilogue.functions,
        )

    def _pack(self, w: Writer, variant: int, vectors: int, tail: int | None) -> None:
        """Write the function that copies the columns of a panel side by side, with zeros in the missing lanes."""
        step, column = self.p.b.strides[-2:]
        channels = (vectors - 1) * self.lanes + (tail or self.lanes)
        with (
            w.block(f"static void @NAME@_pack_{variant}(const float *from, float *to)"),
            w.block(f"for (int32_t k = 0; k < {self.p.steps}; ++k, from += {step}, to += {vectors * self.lanes})"),
        ):
            if column == 1:
                for v in range(vectors):
                    last = tail if v == vectors - 1 else None
                    loaded = (
                        f"es_load_n(from + {v * self.lanes}, {last})" if last else f"es_load(from + {v * self.lanes})"
                    )
                    w.line(f"es_store(to + {v * self.lanes}, {loaded});")
            else:
                with w.block(f"for (int32_t n = 0; n < {vectors * self.lanes}; ++n)"):
                    value = f"from[(ptrdiff_t)n * {column}]"
                    w.line(f"to[n] = n < {channels} ? {value} : 0.0f;" if tail else f"to[n] = {value};")
        w.line()

    def _tile(self, w: Writer, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        row_stride, step_stride = self.p.a.strides[-2:]
        parameters = f"const float *x, const float *w, const float *b, float *y{self.p.epilogue.parameters}"
        with w.block(f"static void @NAME@_{variant}_{rows}({parameters})"):
            declare(w, range(rows), vectors, self.lanes)
            segment = Segment(self.p.steps, "0", step_stride, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * row_stride, vectors, self.p.problem.target)
            self.p.epilogue.store(w, self.p.y, range(rows), vectors, tail, row_axis=self.p.y.rank - 2)
        w.line()

    def _panel(self, w: Writer, variant: int, outer: list[tuple[int, str]]) -> None:
        p, rank = self.p, self.p.y.rank
        position = [*outer, (rank - 2, "row"), (rank - 1, f"panel * {self.width}")]
        arguments = f"a + {strided(p.a, [(rank - 2, 'row')])}, packed, bias + panel * {self.width}"
        arguments += f", y0 + {strided(p.y, position)}{p.epilogue.arguments(position)}"
        w.line(f"@NAME@_pack_{variant}(b, packed);")
        self.rows.write(w, "0", str(self.rows.count), None, lambda height: f"@NAME@_{variant}_{height}({arguments});")
