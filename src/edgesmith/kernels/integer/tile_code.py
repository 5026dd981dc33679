"""The C of register tiles of integer sums over packed input lines."""

from __future__ import annotations

from functools import cached_property
from math import prod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, unpack
from edgesmith.kernels.integer.dot import AHEAD_VECTORS
from edgesmith.kernels.integer.lines import starting_sums
from edgesmith.kernels.integer.tile_sums import SLACK, TileBlocking, TileSums
from edgesmith.kernels.integer.wide import PartialSums, partial_sum, write_floats, write_words
from edgesmith.kernels.packed_lines import PackedLines, pack_weights

__all__ = ["TileCode"]

UNROLLED_GROUPS = 8


class TileCode:
    """Writes the copying, the tiles and the loops."""

    def __init__(self, sums: TileSums, blocking: TileBlocking) -> None:
        self.s, self.b, self.w = sums, blocking, sums.window
        self.dot = sums.used(blocking)
        self.lanes = sums.target.lanes
        self.tiles = sums.tiles(blocking)
        self.shift = self.dot.shift(self.w.input_type)
        self.packed = PackedLines(self.w, self.dot.element, self.shift, self.tiles.columns)

    def code(self) -> Code:
        epilogue = self.w.epilogue
        constants = [
            ("weights", self.weights),
            ("bias", self.starts),
            *epilogue.constants,
        ]
        w = Writer()
        if self.b.wide:
            self._prepare(w, len(constants))
        self.packed.write(w)
        for variant, (vectors, tail) in enumerate(self.tiles.panels.variants()):
            for rows, _ in self.tiles.rows.heights:
                self._tile(w, variant, rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            if self.b.wide:
                w.line(f"const int16_t *const wide = (const int16_t *)p[{self._first + len(constants)}];")
                w.line("(void)weights;")
            source = "wide" if self.b.wide else "weights"
            panel_weights = self.s.steps * self.tiles.panels.vectors * self.lanes * self.dot.group
            self.tiles.write(w, self.dot.element.c, self.dot.weight.c, source, panel_weights)
        kernel_size = "x".join(map(str, self.w.kernel))
        operator = self.w.problem.anchor.op.name.lower()
        tile = f"{self.b.rows}x{self.b.vectors}"
        label = f"{operator}{kernel_size}_tiles_{self.w.input_type}{epilogue.label}_{tile}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            prod(self.tiles.tasks),
            (self.tiles.packed_elements + self._slack) * self.dot.element.itemsize,
            functions=epilogue.functions,
            prepared_bytes=constants[0][1].size * self.dot.weight.itemsize if self.b.wide else 0,
        )

    @property
    def _slack(self) -> int:
        """Elements behind the packed lines that may be read."""
        return SLACK + (self.lanes * self.dot.group if self.s.ahead else 0)

    @property
    def _first(self) -> int:
        """Position of the first constant among the step's operands."""
        return len(self.w.problem.region.inputs) + len(self.w.problem.region.outputs)

    def _prepare(self, w: Writer, constants: int) -> None:
        """Write the function that widens the weights."""
        source, target = self.s.dot.weight.c, self.dot.weight.c
        with w.block(PREPARE_SIGNATURE):
            w.line(f"const {source} *const weights = (const {source} *)p[{self._first}];")
            w.line(f"{target} *const wide = ({target} *)p[{self._first + constants}];")
            with w.block(f"for (ptrdiff_t i = 0; i < {self.weights.size}; ++i)"):
                w.line("wide[i] = weights[i];")
        w.line()

    @cached_property
    def weights(self) -> np.ndarray:
        dot = self.s.dot
        packed = pack_weights(self.s, self.s.groups, self.tiles.panels).astype(dot.weight.numpy)
        if dot.order:
            packed = packed.reshape(-1, dot.group)[:, list(dot.order)]
        vectors = packed.reshape(-1, self.lanes, dot.planes, dot.group // dot.planes)
        unused = AHEAD_VECTORS * self.lanes * dot.group if self.s.ahead else 0
        return np.pad(vectors.transpose(0, 2, 1, 3).reshape(-1), (0, unused))

    @cached_property
    def starts(self) -> np.ndarray:
        return starting_sums(self.w, self.shift, self.lanes, self.w.narrow_epilogue.start)

    def _tile(self, w: Writer, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        """Write the function of one register tile."""
        epilogue, y = self.w.narrow_epilogue, self.w.y
        parameters = [f"const {self.dot.element.c} *x", f"const {self.dot.weight.c} *w", "const int32_t *b"]
        parameters.append(f"{y.dtype.c} *y{epilogue.parameters}")
        with w.block(f"static void {self.tiles.function(variant, rows)}({', '.join(parameters)})"):
            if not self.w.wide:
                self._declare(w, rows, vectors)
            kernel_lines, line_step = self.w.kernel[0], self.w.dilations[0] * self.packed.line
            loops = []
            if kernel_lines > 1:
                loops.append(f"for (ptrdiff_t i = 0; i < {kernel_lines}; ++i)")
            if self.s.runs > 1:
                loops.append(f"for (ptrdiff_t j = 0; j < {self.s.runs}; ++j)")
            start = "x" + (f" + i * {line_step}" if kernel_lines > 1 else "")
            start += f" + j * {self.w.dilations[1] * self.s.depth}" if self.s.runs > 1 else ""
            if self.w.wide:
                self._wide_sums(w, loops, start, rows, vectors)
            else:
                self._nest(w, loops, start, rows, vectors)
                self._finish(w, rows, vectors)
            epilogue.store(w, y, range(rows), vectors, tail, row_axis=2)
        w.line()

    def _declare(self, w: Writer, rows: int, vectors: int) -> None:
        """Write the sums, each starting with its bias."""
        for v in range(vectors):
            w.line(f"const es_m bias{v} = es_load_i32(b + {v * self.lanes});")
        for r in range(rows):
            w.line("es_m " + ", ".join(f"c{r}_{v} = bias{v}" for v in range(vectors)) + ";")

    def _finish(self, w: Writer, rows: int, vectors: int) -> None:
        """Write what makes ``c<row>_<vector>`` of the sums, where they are not that."""

    def _wide_sums(self, w: Writer, loops: list[str], start: str, rows: int, vectors: int) -> None:
        """Write sums beyond 32 bits: a nest of loops for each digit of the weights."""
        partial = self.s.partial
        assert partial is not None
        second = self.starts.size // 2
        at = [v * self.lanes for v in range(vectors)]
        write_words(w, rows, [(f"es_load_i32(b + {i})", f"es_load_i32(b + {second + i})") for i in at])
        for shift in partial.shifts:
            self._nest(w, loops, start, rows, vectors, (partial, shift))
        write_floats(w, rows, vectors)

    def _nest(
        self,
        w: Writer,
        loops: list[str],
        start: str,
        rows: int,
        vectors: int,
        partial: tuple[PartialSums, int] | None = None,
    ) -> None:
        """Write the loops around the products.

        Args:
            partial: what is added up at once, and by how many bits the sums are shifted; None: everything.
        """
        if partial and len(loops) == partial[0].loops and not partial[0].elements:
            with partial_sum(w, rows, vectors, partial[1]):
                self._nest(w, loops, start, rows, vectors)
            return
        if loops:
            with w.block(loops[0]):
                self._nest(w, loops[1:], start, rows, vectors, partial)
            return
        with w.block(""):
            w.line(f"const {self.dot.element.c} *xk = {start};")
            if partial is None:
                self._all_products(w, rows, vectors)
                return
            count, rest = divmod(self.s.groups, partial[0].elements // self.dot.group)
            for times, groups in ((count, partial[0].elements // self.dot.group), (1, rest)):
                if groups:
                    with (
                        w.block(f"for (ptrdiff_t part = 0; part < {times}; ++part)"),
                        partial_sum(w, rows, vectors, partial[1]),
                    ):
                        self._products(w, groups, rows, vectors)
                        left = groups if groups <= UNROLLED_GROUPS else groups % 2
                        if left:
                            w.line(f"xk += {left * self.dot.group};")

    def _all_products(self, w: Writer, rows: int, vectors: int) -> None:
        """Write the products of a run: by lanes of the inputs' vectors where the target multiplies by those."""
        dot, lanes = self.dot, self.lanes
        rounds, rest = divmod(self.s.groups, lanes)
        if not dot.lane or not rounds:
            self._products(w, self.s.groups, rows, vectors)
            return
        if self.s.ahead:
            self._rounds_ahead(w, rounds, rows, vectors)
        else:
            self._rounds(w, rounds, rows, vectors)
        if rest:
            self._products(w, rest, rows, vectors)

    def _rounds(self, w: Writer, rounds: int, rows: int, vectors: int) -> None:
        """Write so many groups as a vector of inputs has, again and again."""
        dot, lanes = self.dot, self.lanes
        with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)" if rounds > 1 else ""):
            for r in range(rows):
                w.line(f"const es_m a{r} = es_{dot.load_lanes}(xk + {r * self.packed.pixel});")
            for u in range(lanes):
                with w.block(""):
                    for v in range(vectors):
                        at = (u * vectors + v) * lanes * dot.group
                        w.line(f"const es_m b{v} = es_{dot.load_weights}(w + {at});")
                        for r in range(rows):
                            w.line(f"c{r}_{v} = es_{dot.lane}(c{r}_{v}, a{r}, b{v}, {u});")
            w.line(f"xk += {lanes * dot.group};")
            w.line(f"w += {vectors * lanes * lanes * dot.group};")

    def _rounds_ahead(self, w: Writer, rounds: int, rows: int, vectors: int) -> None:
        """The same for a core that waits for each load: operands are loaded one chunk of weights before their use.

        What the last round loads is not used.
        """
        dot, lanes = self.dot, self.lanes
        size = lanes * dot.group
        chunks = [
            (u, range(v, min(v + AHEAD_VECTORS, vectors)))
            for u in range(lanes)
            for v in range(0, vectors, AHEAD_VECTORS)
        ]

        def load(number: int) -> None:
            u, some = chunks[number % len(chunks)]
            first = (number // len(chunks) * lanes + u) * vectors
            for v in some:
                at = (first + v) * size
                w.line(f"b{number % 2}_{v - some.start} = es_{dot.load_weights}(w + {at});")

        def element(r: int) -> str:
            return f"a{r} = es_{dot.load_lanes}(xk + {r * self.packed.pixel});"

        for r in range(rows):
            w.line(f"es_m {element(r)}")
        names = [f"b{n % 2}_{v - some.start}" for n, (_, some) in enumerate(chunks) for v in some]
        w.line(f"es_m {', '.join(dict.fromkeys(names))};")
        load(0)
        with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)"):
            for number, (u, some) in enumerate(chunks):
                load(number + 1)
                w.line("ES_IN_ORDER;")
                last = number == len(chunks) - 1
                if last:
                    w.line(f"xk += {size};")
                    # Keeps compilers from counting back to the rows from the last one, by an addition each.
                    w.line('__asm__("" : "+r"(xk));')
                places = [(r, v) for v in some for r in range(rows)]
                for r, v in sorted(places) if last else places:
                    w.line(f"c{r}_{v} = es_{dot.lane}(c{r}_{v}, a{r}, b{number % 2}_{v - some.start}, {u});")
                    if last and v == some[-1]:
                        w.line(element(r))
            w.line(f"w += {vectors * lanes * size};")

    def _products(self, w: Writer, groups: int, rows: int, vectors: int) -> None:
        """Write the products of neighbouring groups."""
        width = vectors * self.lanes * self.dot.group
        unroll = groups if groups <= UNROLLED_GROUPS else 2
        rounds, rest = divmod(groups, unroll)
        if rounds > 1:
            with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)"):
                self._steps(w, unroll, rows, vectors)
                w.line(f"xk += {unroll * self.dot.group};")
                w.line(f"w += {unroll * width};")
        left = rest + (unroll if rounds == 1 else 0)
        if left:
            self._steps(w, left, rows, vectors)
            w.line(f"w += {left * width};")

    def _steps(self, w: Writer, count: int, rows: int, vectors: int) -> None:
        dot = self.dot

        def weight(u: int, v: int) -> None:
            at = (u * vectors + v) * self.lanes * dot.group
            w.line(f"const {dot.vector} b{v} = es_{dot.load_weights}(w + {at});")

        def element(u: int, r: int) -> None:
            w.line(f"const {dot.vector} a{r} = es_{dot.load_input}(xk + {u * dot.group + r * self.packed.pixel});")

        for u in range(count):
            with w.block(""):
                wide = rows < vectors
                for r in range(rows) if wide else ():
                    element(u, r)
                for v in () if wide else range(vectors):
                    weight(u, v)
                for outer in range(vectors) if wide else range(rows):
                    if wide:
                        weight(u, outer)
                    else:
                        element(u, outer)
                    for r, v in ((r, outer) for r in range(rows)) if wide else ((outer, v) for v in range(vectors)):
                        w.line(f"c{r}_{v} = es_{dot.name}(c{r}_{v}, a{r}, b{v});")
            if dot.settles:
                w.line(" ".join(f"ES_SETTLED(c{r}_{v});" for r in range(rows) for v in range(vectors)))
