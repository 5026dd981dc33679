"""Matrix product of many rows with weights in 4 bits: each task unpacks its panel once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES, memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.blocks import CODES, BlockProduct, block_product, number
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, Segment, TileShape, accumulate, candidates, cycles_per_step
from edgesmith.ops.block_scales import BlockMatMul

STEP_NS = 60.0
TILES_KEPT = 6
UNPACK_CYCLES = 1.5
TILE_CYCLES = 20.0


@kernel
class BlockTiles(Kernel):
    """Register tiles over rows; a task is a panel of output channels.

    Its weights become f32 in the worker's scratch memory, each the product of integer and scale rounded once, and all
    rows are computed with them.
    """

    name: ClassVar[str] = "block-tiles"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, BlockMatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = block_product(problem).reject
        return None if reason is None else Reject(reason)

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        p, target = block_product(problem), problem.target
        shapes = candidates(target, p.rows, -(-p.channels // target.lanes))
        shapes = [t for t in shapes if RowTiles.of(p.rows, t.rows).height == t.rows]
        best = sorted(shapes, key=lambda t: (_nanoseconds(p, t), t.vectors, -t.rows))
        return [{"rows": t.rows, "vectors": t.vectors} for t in best[:TILES_KEPT]]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return _nanoseconds(block_product(problem), TileShape(schedule["rows"], schedule["vectors"]))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return block_product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(block_product(problem), TileShape(schedule["rows"], schedule["vectors"])).code()


def _nanoseconds(p: BlockProduct, tile: TileShape) -> float:
    """Predicted time on one core."""
    target = p.problem.target
    panels = Panels(p.channels, target.lanes, tile.vectors)
    cycles = 0.0
    for (vectors, _), count in panels.counted():
        cycles += count * p.steps * vectors * (UNPACK_CYCLES + 0.25 * (p.zeros is not None))
        for height, number_of in RowTiles.of(p.rows, tile.rows).heights:
            step = cycles_per_step(target, TileShape(height, vectors))
            cycles += count * number_of * (p.steps * step + TILE_CYCLES)
    compute, memory = cycles / target.gigahertz, memory_ns(p.weights.size / 2 + p.scales.nbytes, target)
    return STEP_NS + max(compute, memory) + 0.2 * min(compute, memory)


class _Emitter:
    def __init__(self, product: BlockProduct, tile: TileShape) -> None:
        self.p, self.tile = product, tile
        self.lanes = product.problem.target.lanes
        self.panels = Panels(product.channels, self.lanes, tile.vectors)
        self.rows = RowTiles.of(product.rows, tile.rows)
        self.epilogue = product.epilogue
        self.width = self.panels.vectors * self.lanes

    def code(self) -> Code:
        p, panels = self.p, self.panels
        constants = [*p.packed(panels), *self.epilogue.constants]
        w = Writer()
        for variant, (vectors, tail) in enumerate(panels.variants()):
            self._unpack(w, variant, vectors)
            for rows, _ in self.rows.heights:
                self._tile(w, variant, rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("float *const unpacked = (float *)scratch;")
            at = f", scales + (ptrdiff_t)panel * {p.blocks * self.width}"
            if p.zeros is not None:
                at += f", zeros + (ptrdiff_t)panel * {p.blocks * self.width}"
            codes = f"codes + (ptrdiff_t)panel * {p.groups * self.width * CODES // 2}"

            def panel(variant: int) -> None:
                w.line(f"@NAME@_unpack_{variant}({codes}{at}, unpacked);")
                self.rows.write(w, "0", str(self.rows.count), None, lambda height: self._call(variant, height))

            with w.block("for (int32_t panel = begin; panel < end; ++panel)"):
                panels.write_variants(w, "panel", panel)
        label = f"matmul_w4b{p.block}_tiles_f32{self.epilogue.label}_{self.tile.rows}x{self.tile.vectors}"
        arrays = tuple(a for _, a in constants)
        scratch = p.groups * CODES * self.width * FLOAT_BYTES
        return Code(w.text(), label, arrays, panels.count, scratch, functions=self.epilogue.functions)

    def _call(self, variant: int, height: int) -> str:
        p = self.p
        position = [(0, "row"), (1, f"panel * {self.width}")]
        x = f"x0 + {strided(p.x, [(0, 'row')])}"
        y = f"y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}"
        return f"@NAME@_tile_{variant}_{height}({x}, unpacked, {y});"

    def _unpack(self, w: Writer, variant: int, vectors: int) -> None:
        """Write the function that turns a panel into f32: for each step, ``vectors`` vectors."""
        p, size = self.p, vectors * self.lanes
        zeros = ", const float *z" if p.zeros is not None else ""
        head = f"static void @NAME@_unpack_{variant}(const uint8_t *w, const float *s{zeros}, float *to)"
        with w.block(head):
            blocks = [(p.block_groups, p.groups // p.block_groups), (p.groups % p.block_groups, 1)]
            for groups, count in blocks:
                if not groups:
                    continue
                with w.block(f"for (ptrdiff_t block = 0; block < {count}; ++block)"):
                    with w.block(f"for (ptrdiff_t k = 0; k < {groups}; ++k)"):
                        self._group(w, vectors)
                    w.line(f"s += {size};")
                    if p.zeros is not None:
                        w.line(f"z += {size};")
        w.line()

    def _group(self, w: Writer, vectors: int) -> None:
        p, size = self.p, vectors * self.lanes
        for v in range(vectors):
            with w.block(""):
                w.line(f"const es_m word = es_quads_i8((const int8_t *)w + {v * self.lanes * CODES // 2});")
                w.line(f"const es_v scale = es_load(s + {v * self.lanes});")
                if p.zeros is not None:
                    w.line(f"const es_v zero = es_load(z + {v * self.lanes});")
                for code in range(CODES):
                    value = number(code, "word", "zero" if p.zeros is not None else None)
                    w.line(f"es_store(to + {code * size + v * self.lanes}, ({value}) * scale);")
        w.line(f"w += {size * CODES // 2};")
        w.line(f"to += {size * CODES};")

    def _tile(self, w: Writer, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        """Write the function of one register tile."""
        p, epilogue = self.p, self.epilogue
        parameters = f"const float *x, const float *w, float *y{epilogue.parameters}"
        with w.block(f"static void @NAME@_tile_{variant}_{rows}({parameters})"):
            for r in range(rows):
                w.line("es_v " + ", ".join(f"c{r}_{v} = {{0}}" for v in range(vectors)) + ";")
            segment = Segment(p.steps, "0", p.step_stride, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * p.x.strides[0], vectors, p.problem.target)
            epilogue.store(w, p.y, range(rows), vectors, tail, row_axis=0)
        w.line()
