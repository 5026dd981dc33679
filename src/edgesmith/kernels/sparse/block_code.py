"""The C text of a product over lists of blocks."""

from __future__ import annotations

from itertools import pairwise

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import SIGNATURE, Code, Schedule, unpack
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.blocking import Blocking
from edgesmith.kernels.gemm.packed import ProductEmitter
from edgesmith.kernels.sparse.block_cost import chains
from edgesmith.kernels.sparse.pattern import SparseProduct, not_empty

__all__ = ["BlockEmitter"]

SHORT_OFFSETS = 1 << 16


class BlockEmitter(ProductEmitter):
    """Writes the tiles and the loops of one product; the copy of rows is the dense product's."""

    def __init__(self, sparse: SparseProduct, schedule: Schedule) -> None:
        super().__init__(sparse.product, Blocking.of(schedule))
        self.sparse = sparse
        lists = sparse.lists(self.tile.vectors)
        offsets = lists.steps * self.step_stride
        short = 0 <= (sparse.product.steps - 1) * self.step_stride < SHORT_OFFSETS
        self.weights, self.starts = not_empty(lists.weights), lists.starts
        self.offsets = not_empty(offsets.astype("u2" if short else "i4"))

    def code(self) -> Code:
        constants = [("weights", self.weights), ("bias", self.bias), ("starts", self.starts), ("offsets", self.offsets)]
        constants += self.epilogue.constants
        w = Writer()
        if self.b.packed:
            self._pack(w)
        for v, (vectors, tail) in enumerate(self.panels.variants()):
            for rows, _ in self.row_tiles.heights:
                self._tile(w, "whole", v, rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(self.p.problem, constants))
            tasks = self._tasks(w)
        op = self.p.problem.anchor.op.name.lower()
        label = f"{op}_sparse_blocks_f32{self.epilogue.label}_{self.tile.rows}x{self.tile.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            tasks,
            self.b.scratch_bytes(self.p.extents),
            functions=self.epilogue.functions,
            task_costs=self._task_costs(tasks),
        )

    def _task_costs(self, tasks: int) -> tuple[int, ...]:
        """Multiply-adds of the groups of panels, where there are several; tasks of a group follow one another."""
        bounds = [*range(0, self.panels.count, self.b.panels), self.panels.count]
        if len(bounds) < 3:
            return ()
        blocks = [int(self.starts[b] - self.starts[a]) + 1 for a, b in pairwise(bounds)]
        slices = tasks // (len(blocks) * -(-self.row_tiles.count // self.b.tiles))
        each = tasks // (slices * len(blocks))
        return tuple(n for _ in range(slices) for n in blocks for _ in range(each))

    def _tile(self, w: Writer, kind: str, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        lanes, many = self.lanes, chains(self.p.problem.target, rows, vectors)
        offset = "uint16_t" if self.offsets.itemsize == 2 else "int32_t"
        parameters = ["const float *x", f"const {offset} *at", "const int32_t count"]
        parameters += ["const float *w", "const float *b", "float *y" + self.epilogue.parameters]
        sums = [(r, v) for r in range(rows) for v in range(vectors)]

        def step(chain: int) -> None:
            with w.block(""):
                w.line(f"const float *const xk = x + at[{f'i + {chain}' if chain else 'i'}];")
                wide = rows < vectors
                held = [f"const es_v a{r} = es_set1(xk[{r * self.row_stride}]);" for r in range(rows)]
                loaded = [f"const es_v b{v} = es_load(w + {(chain * vectors + v) * lanes});" for v in range(vectors)]
                for line in held if wide else loaded:
                    w.line(line)
                for outer, line in enumerate(loaded if wide else held):
                    w.line(line)
                    for r, v in ((r, outer) for r in range(rows)) if wide else ((outer, v) for v in range(vectors)):
                        name = f"{'cdef'[chain]}{r}_{v}"
                        w.line(f"{name} = es_fma(a{r}, b{v}, {name});")

        with w.block(f"static void {self._function(kind, variant, rows)}({', '.join(parameters)})"):
            for v in range(vectors):
                w.line(f"const es_v bias{v} = es_load({f'b + {v * lanes}' if v else 'b'});")
            w.line("es_v " + ", ".join(f"c{r}_{v} = bias{v}" for r, v in sums) + ";")
            for chain in range(1, many):
                w.line("es_v " + ", ".join(f"{'cdef'[chain]}{r}_{v} = {{0.0f}}" for r, v in sums) + ";")
            w.line("ptrdiff_t i = 0;")
            with w.block(f"for (; i + {many} <= count; i += {many}, w += {many * vectors * lanes})"):
                for chain in range(many):
                    step(chain)
            if many > 1:
                with w.block(f"for (; i < count; ++i, w += {vectors * lanes})"):
                    step(0)
                for r, v in sums:
                    w.line(f"c{r}_{v} = {_tree([f'{name}{r}_{v}' for name in 'cdef'[:many]])};")
            self.epilogue.store(w, self.p.y, range(rows), vectors, tail, row_axis=self.p.apart)
        w.line()

    def _pass(self, w: Writer, kind: str, first_step: str, steps: int) -> None:
        width = self.panels.vectors * self.lanes
        if self.b.packed:
            w.line(f"@NAME@_pack(xs, first_row, last_row, {steps}, packed);")
        with w.block("for (int32_t panel = first_panel; panel < last_panel; ++panel)"):
            w.line("const int32_t start = starts[panel], count = starts[panel + 1] - start;")
            w.line(f"const float *const wp = weights + (ptrdiff_t)start * {width};")
            w.line(f"const float *const bp = bias + panel * {width};")
            self.panels.write_variants(w, "panel", lambda variant: self._tiles(w, kind, variant, first_step))

    def _tiles(self, w: Writer, kind: str, variant: int, first_step: str) -> None:
        p, width = self.p, self.panels.vectors * self.lanes
        slices = [(axis, f"slice{axis}") for axis in range(p.apart)]
        position = [*slices, (p.apart, "row"), (p.apart + 1, f"panel * {width}")]
        x = f"packed + (ptrdiff_t)(row - first_row) * {self.row_stride}"
        if not self.b.packed:
            x = f"xs + {strided(p.x, [(p.apart, 'row')])}"
        y = f"y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}"
        arguments = f"{x}, offsets + start, count, wp, bp, {y}"

        def call(height: int) -> str:
            return f"{self._function(kind, variant, height)}({arguments});"

        self.row_tiles.write(w, "first_tile", "last_tile", None, call)


def _tree(terms: list[str]) -> str:
    """The sum of an even number of terms, or of one, as a balanced tree."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_tree(terms[:half])} + {_tree(terms[half:])})"
