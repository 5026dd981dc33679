"""Matrix product with constant, packed weights: pointwise convolution, Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.blocking import Blocking, blockings
from edgesmith.kernels.gemm.product import Product, split_product
from edgesmith.kernels.gemm.row_tiles import RowTiles, lines_ahead, write_range
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, Segment, accumulate, declare, pack, pack_bias
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

__all__ = ["PackedGemm", "Product", "ProductEmitter"]

STEP_NS = 60.0


@kernel
class PackedGemm(Kernel):
    """Rows of input times panels of packed weights, in register tiles."""

    name: ClassVar[str] = "gemm"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = split_product(problem).reject
        return Reject(reason) if reason else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [b.schedule for b in blockings(split_product(problem).extents)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return STEP_NS + split_product(problem).nanoseconds(Blocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return split_product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return ProductEmitter(split_product(problem), Blocking.of(schedule)).code()


class ProductEmitter:
    """Writes the tiles and the loops of one product."""

    def __init__(self, product: Product, blocking: Blocking) -> None:
        self.p, self.b, self.tile = product, blocking, blocking.tile
        self.lanes = product.problem.target.lanes
        self.panels = Panels(product.channels, self.lanes, self.tile.vectors)
        self.weights, self.bias = pack(product.weights, self.panels), pack_bias(product.bias, self.panels)
        self.epilogue = product.epilogue
        self.passes = blocking.passes(product.steps)
        self.row_tiles = RowTiles.of(product.rows, self.tile.rows)
        if blocking.packed:
            self.row_stride, self.step_stride = blocking.packed_stride(), 1
        else:
            self.row_stride = product.x.strides[-2]
            self.step_stride = product.x.strides[-1] if product.steps > 1 else 1

    def code(self) -> Code:
        p = self.p
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        if self.b.packed:
            self._pack(w)
        kinds = ["whole"] if len(self.passes) == 1 else ["first", "middle", "last"]
        for kind in kinds if len(self.passes) != 2 else ["first", "last"]:
            for v, (vectors, tail) in enumerate(self.panels.variants()):
                for rows, _ in self.row_tiles.heights:
                    self._tile(w, kind, v, rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            tasks = self._tasks(w)
        op = p.problem.anchor.op.name.lower()
        label = f"{op}_gemm_f32{self.epilogue.label}_{self.tile.rows}x{self.tile.vectors}"
        arrays = tuple(a for _, a in constants)
        scratch = self.b.scratch_bytes(p.extents)
        return Code(w.text(), label, arrays, tasks, scratch, functions=self.epilogue.functions)

    def _tile(self, w: Writer, kind: str, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        """Write the function of one register tile.

        Args:
            kind: which of the passes over the reduction: the ``whole`` of it, the ``first``, ``middle`` or ``last``.
        """
        begins, ends = kind in ("whole", "first"), kind in ("whole", "last")
        parameters = ["const float *x", "const float *w"]
        parameters += ["const float *b"] if begins else []
        parameters += [] if kind == "whole" else ["float *s"]
        parameters += ["float *y" + self.epilogue.parameters] if ends else []
        parameters += ["const float *ahead"]
        steps = self.passes[-1][1] if ends else self.passes[0][1]
        with w.block(f"static void {self._function(kind, variant, rows)}({', '.join(parameters)})"):
            sums = [(r, v, (r * vectors + v) * self.lanes) for r in range(rows) for v in range(vectors)]
            if begins:
                declare(w, range(rows), vectors, self.lanes)
            else:
                for r, v, at in sums:
                    w.line(f"es_v c{r}_{v} = es_load(s + {at});")
            segment = Segment(steps, "0", self.step_stride, tuple(range(rows)))
            lines = lines_ahead(rows, vectors, self.lanes, self._block_tiles)
            accumulate(w, segment, lambda r: r * self.row_stride, vectors, self.p.problem.target, lines)
            w.line("(void)ahead;")
            if ends:
                self.epilogue.store(w, self.p.y, range(rows), vectors, tail, row_axis=self.p.apart)
            else:
                for r, v, at in sums:
                    w.line(f"es_store(s + {at}, c{r}_{v});")
        w.line()

    @property
    def _block_tiles(self) -> int:
        """Row tiles of a full block."""
        return min(self.b.tiles, self.row_tiles.count)

    @staticmethod
    def _function(kind: str, variant: int, rows: int) -> str:
        return f"@NAME@_{kind}_{variant}_{rows}"

    def _pack(self, w: Writer) -> None:
        """Write the function that copies steps of some rows of X side by side."""
        p = self.p
        if p.even:
            axes = [("row", p.rows)]
            strides = [p.x.strides[-2]]
        else:
            axes = [(f"r{i}", n) for i, n in enumerate(p.source.shape[p.apart : -1])]
            strides = list(p.source.strides[p.apart : -1])
        step = p.source.strides[-1] if p.steps > 1 else 1
        head = "static void @NAME@_pack(const float *x, const int32_t first, const int32_t last, const int32_t steps"
        with (
            w.block(f"{head}, float *to)"),
            w.block(f"for (int32_t row = first; row < last; ++row, to += {self.row_stride})"),
        ):
            if not p.even:
                w.unravel("row", axes)
            offset = " + ".join(
                f"(ptrdiff_t){name} * {stride}"
                for (name, n), stride in zip(axes, strides, strict=True)
                if n > 1 and stride
            )
            w.line(f"const float *const from = x + {offset or '0'};")
            w.line("int32_t k = 0;")
            if step == 1:
                with w.block(f"for (; k + {self.lanes} <= steps; k += {self.lanes})"):
                    w.line("es_store(to + k, es_load(from + k));")
            with w.block("for (; k < steps; ++k)"):
                w.line(f"to[k] = from[{'k' if step == 1 else f'(ptrdiff_t)k * {step}'}];")
        w.line()

    def _tasks(self, w: Writer) -> int:
        p, rows = self.p, self.row_tiles
        blocks = -(-rows.count // self.b.tiles)
        groups = -(-self.panels.count // self.b.panels)
        slices = [(f"slice{i}", n) for i, n in enumerate(p.slices)]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [*slices, ("group", groups), ("block", blocks)])
            write_range(w, "tile", "block", self.b.tiles, rows.count)
            write_range(w, "panel", "group", self.b.panels, self.panels.count)
            position = [(axis, name) for axis, (name, _) in enumerate(slices)]
            w.line(f"const float *const xs = x0 + {strided(p.source, position)};")
            if self.b.packed:
                w.line("float *const packed = (float *)scratch;")
                w.line(f"const int32_t first_row = {rows.first_row('first_tile')};")
                w.line(f"const int32_t last_row = {rows.first_row('last_tile')};")
            if len(self.passes) > 1:
                at = self.b.tiles * rows.height * self.row_stride if self.b.packed else 0
                w.line(f"float *const sums = (float *)scratch + {at};")
            elif not self.b.packed:
                w.line("(void)scratch;")
            self._passes(w)
        return blocks * groups * prod(p.slices)

    def _passes(self, w: Writer) -> None:
        last = len(self.passes) - 1
        if last == 0:
            self._pass(w, "whole", "0", self.passes[0][1])
            return
        with w.block(""):
            self._pass(w, "first", "0", self.passes[0][1])
        if last > 1:
            with w.block(f"for (int32_t k = {self.b.depth}; k < {self.passes[-1][0]}; k += {self.b.depth})"):
                self._pass(w, "middle", "k", self.b.depth)
        with w.block(""):
            self._pass(w, "last", str(self.passes[-1][0]), self.passes[-1][1])

    def _pass(self, w: Writer, kind: str, first_step: str, steps: int) -> None:
        p, width = self.p, self.panels.vectors * self.lanes
        step = p.source.strides[-1] if p.steps > 1 else 1
        if first_step == "0":
            w.line("const float *const xk = xs;")
        else:
            w.line(f"const float *const xk = xs + (ptrdiff_t){first_step} * {step};")
        if self.b.packed:
            w.line(f"@NAME@_pack(xk, first_row, last_row, {steps}, packed);")
        with w.block("for (int32_t panel = first_panel; panel < last_panel; ++panel)"):
            w.line(f"const float *const wp = weights + (ptrdiff_t)panel * {p.steps * width};")
            if kind in ("whole", "first"):
                w.line(f"const float *const bp = bias + panel * {width};")
            w.line(f"const float *ahead = wp + (panel < {self.panels.count - 1} ? {p.steps * width} : 0);")
            self.panels.write_variants(w, "panel", lambda variant: self._tiles(w, kind, variant, first_step))

    def _tiles(self, w: Writer, kind: str, variant: int, first_step: str) -> None:
        p, rows = self.p, self.row_tiles
        width, lanes = self.panels.vectors * self.lanes, self.panels.variants()[variant][0] * self.lanes
        slices = [(axis, f"slice{axis}") for axis in range(p.apart)]
        position = [*slices, (p.apart, "row"), (p.apart + 1, f"panel * {width}")]
        sums = f"sums + ((ptrdiff_t)(panel - first_panel) * {self.b.tiles} + tile - first_tile) * {rows.height * width}"
        if self.b.packed:
            arguments = [f"packed + (ptrdiff_t)(row - first_row) * {self.row_stride}"]
        else:
            arguments = [f"xk + {strided(p.x, [(p.apart, 'row')])}"]
        arguments.append("wp" if first_step == "0" else f"wp + (ptrdiff_t){first_step} * {lanes}")
        arguments += ["bp"] if kind in ("whole", "first") else []
        arguments += [] if kind == "whole" else [sums]
        if kind in ("whole", "last"):
            arguments.append(f"y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}")
        arguments.append("ahead")

        def call(height: int) -> str:
            return f"{self._function(kind, variant, height)}({', '.join(arguments)});"

        rows.write(w, "first_tile", "last_tile", p.steps * lanes // self._block_tiles, call)
