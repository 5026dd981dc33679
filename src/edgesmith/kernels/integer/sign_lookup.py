"""Products of signs by table: a shuffle of bytes multiplies and adds four signs for every channel of a vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import cycles_of, memory_ns
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.line_tiles import LineBlocking, LineTiles
from edgesmith.kernels.integer.sign_table import SignTable
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.kernels.packed_lines import LineSums, packing
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, TileShape, candidates
from edgesmith.ops.sign_products import SignProduct

STEP_NS = 60.0
TILES_KEPT = 6
TARGET_TASKS = 16
SHUFFLES_PER_CYCLE = 2.0
TILE_CYCLES = 16.0
FLUSH_UOPS = 9.0
PACK_CHANNELS_PER_CYCLE = 16.0
BYTES = 4
"""Bytes of an i32 lane: a vector of bytes counts for so many vectors of channels."""
UNROLLED_STEPS = 2


@kernel
class SignLookup(Kernel):
    """Sums of sign products in register tiles of pixels by channels.

    XNOR and population count of four bits at a time. Four signs of a pixel (two, where weights are ternary) choose a
    table that has, for each pattern of as many weights, the sum of the products, raised so that it is not negative. A
    shuffle looks up the patterns of all channels at once, one a byte. Bytes are added until they might overflow, then
    to 16-bit numbers. Signs take two bits, so that padding, and the sign of 0 where there is one, add exactly 0.
    """

    name: ClassVar[str] = "sign-lookup"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, SignProduct):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if not isinstance(problem.anchor.op, SignProduct):
            return Reject(f"{problem.anchor.op.name} multiplies more than signs")
        window = integer_window(problem, True)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != 1:
            return Reject(f"{window.group} groups")
        if not problem.target.has("shuffle16"):
            return Reject(f"{problem.target.isas[-1]} has no shuffle of bytes")
        if np.abs(window.weights).max(initial=0) > 1:
            return Reject("weights are not all -1, 0 or 1")
        signs = _Signs(window)
        if signs.steps * signs.table.largest >= 2**16:
            return Reject(f"{signs.steps} lookups a sum may exceed 16 bits")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [b.schedule for b in _blockings(_Signs.of(problem))]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return _Signs.of(problem).nanoseconds(LineBlocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return integer_window(problem, True).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(_Signs.of(problem), LineBlocking.of(schedule)).code()


class _Signs(LineSums):
    """Sizes of a problem; a packed element is a lookup."""

    window: IntegerWindow

    def __init__(self, window: IntegerWindow) -> None:
        self.table = SignTable.of(window)
        super().__init__(window, 1, -(-window.x.shape[3] // self.table.signs))
        self.lanes = self.target.lanes
        self.steps = window.kernel[0] * self.runs * self.run

    @classmethod
    def of(cls, problem: Problem) -> _Signs:
        return cls(integer_window(problem, True))

    def tiles(self, b: LineBlocking) -> LineTiles:
        """The tiles; a vector of bytes is ``BYTES`` vectors of sums."""
        return LineTiles(self, Panels(self.window.channels, self.lanes, b.vectors * BYTES), b)

    def nanoseconds(self, b: LineBlocking) -> float:
        """Predicted time on one core."""
        w, tiles, core = self.window, self.tiles(b), self.target.core
        epilogue = cycles_of(w.epilogue.expr, self.target) + 3.0
        flushes = self.steps / min(self.run, self.table.most_steps)
        cycles = 0.0
        for (vectors, _), count in tiles.panels.counted():
            wide = -(-vectors // BYTES)
            panel_bytes = self.steps * wide * self.lanes * BYTES
            for height, number in tiles.rows.heights:
                tile = height * wide
                loads = (height + wide) / core.loads_per_cycle
                step = max(
                    tile / SHUFFLES_PER_CYCLE, (2 * tile + wide) / core.uops_per_cycle, loads, 2 * height / 3, 1.0
                )
                if panel_bytes > self.target.l1_bytes // 2:
                    step = max(step, wide * self.lanes * BYTES / core.l2_bytes_per_cycle)
                flush = flushes * tile * FLUSH_UOPS / core.uops_per_cycle
                cycles += count * number * (self.steps * step + flush + TILE_CYCLES + height * vectors * epilogue)
        cycles *= w.y.shape[0] * self.lines
        packed = tiles.packed_elements * self.table.signs
        cycles += prod(tiles.tasks) * (packed / PACK_CHANNELS_PER_CYCLE + 40.0)
        return max(STEP_NS + cycles / self.target.gigahertz, memory_ns(w.weights.size // self.table.signs, self.target))


def _blockings(s: _Signs) -> Iterator[LineBlocking]:
    """The best register tiles, each with blocks of lines that fit the first-level or the second-level cache."""
    widest = -(-s.window.channels // (s.lanes * BYTES))
    shapes = [t for t in candidates(s.target, s.columns, widest) if _registers(t) <= s.target.registers]
    shapes = [t for t in shapes if RowTiles.of(s.columns, t.rows).height == t.rows]

    def whole(tile: TileShape) -> LineBlocking:
        count = Panels(s.window.channels, s.lanes, tile.vectors * BYTES).count
        return LineBlocking(tile.rows, tile.vectors, s.lines, RowTiles.of(s.columns, tile.rows).count, count)

    best = sorted(shapes, key=lambda t: (s.nanoseconds(whole(t)), t.vectors, -t.rows))
    for tile in best[:TILES_KEPT]:
        yield from dict.fromkeys(_cuts(s, whole(tile)))


def _registers(tile: TileShape) -> int:
    """Sums, weights of a step, and a table that becomes a product."""
    return tile.rows * tile.vectors + tile.vectors + 2


def _cuts(s: _Signs, whole: LineBlocking) -> Iterator[LineBlocking]:
    images = s.window.y.shape[0]
    for room in (s.target.l1_bytes // 4, s.target.l2_bytes // 4):
        if s.lines == 1:
            fits = max(room // (2 * s.depth * whole.rows), 1)
            wanted = max(1, -(-whole.tiles * images // TARGET_TASKS))
            yield replace(whole, tiles=max(1, min(whole.tiles, fits, wanted)))
            continue
        line_bytes = 2 * s.input_columns(s.columns) * s.depth
        fits = (room // line_bytes - s.window.kernel[0]) // s.window.strides[0] + 1
        wanted = max(1, -(-s.lines * images // TARGET_TASKS))
        lines = max(1, min(s.lines, fits, wanted))
        yield replace(whole, lines=-(-s.lines // -(-s.lines // lines)))


class _Emitter:
    """Writes the packing of signs, the tiles and the loops."""

    def __init__(self, signs: _Signs, blocking: LineBlocking) -> None:
        self.s, self.b, self.w, self.table = signs, blocking, signs.window, signs.table
        self.lanes = signs.lanes
        self.tiles = signs.tiles(blocking)
        op = self.w.problem.anchor.op
        assert isinstance(op, SignProduct)
        self.binary = op.binary

    def code(self) -> Code:
        epilogue, b = self.w.epilogue, self.b
        constants = [("weights", self._weights()), ("entries", self.table.entries()), ("bias", self._bias())]
        constants += epilogue.constants
        w = Writer()
        self._pack(w)
        for variant, (vectors, tail) in enumerate(self.tiles.panels.variants()):
            for rows, _ in self.tiles.rows.heights:
                self._tile(w, variant, rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            panel_weights = self.s.steps * self.tiles.panels.vectors * self.lanes
            self.tiles.write(w, "uint16_t", "int8_t", "weights", panel_weights, "entries")
        kernel_size = "x".join(map(str, self.w.kernel))
        operator = self.w.problem.anchor.op.name.lower()
        label = f"{operator}{kernel_size}_lookup{self.table.signs}{epilogue.label}_{b.rows}x{b.vectors}"
        arrays = tuple(a for _, a in constants)
        scratch = self.tiles.packed_elements * 2
        return Code(w.text(), label, arrays, prod(self.tiles.tasks), scratch, functions=epilogue.functions)

    def _weights(self) -> np.ndarray:
        """For each panel, for each lookup, vectors of patterns.

        Byte b of lane l of a vector belongs to channel b * lanes + l, so that bytes widen to vectors of channels.
        """
        weights, s = self.w.weights, self.s
        channels, depth = weights.shape[0], weights.shape[3]
        size = self.lanes * BYTES
        padded = np.ones((-(-channels // size) * size, *weights.shape[1:3], s.depth * self.table.signs), np.int16)
        padded[:channels, ..., :depth] = weights
        patterns = self.table.patterns(padded.reshape(len(padded), s.steps, self.table.signs))
        vectors = patterns.reshape(-1, BYTES, self.lanes, s.steps).transpose(3, 0, 2, 1)
        parts = [
            np.ascontiguousarray(vectors[:, v : v + self.b.vectors]).reshape(-1)
            for v in range(0, vectors.shape[1], self.b.vectors)
        ]
        return np.concatenate(parts)

    def _bias(self) -> np.ndarray:
        """What the sums start with: the bias, less what raises the entries."""
        padded = np.zeros(-(-self.w.channels // self.lanes) * self.lanes, np.int64)
        padded[: self.w.channels] = self.w.bias - self.table.factor * self.table.neutral * self.s.steps
        return padded.astype(np.int32)

    def _pack(self, w: Writer) -> None:
        """Write the function that turns columns of some input lines into places in the table, padded with zeros."""
        x, groups = self.w.x, self.s.depth
        width, depth = x.shape[2], x.shape[3]
        dense = (depth == 1 or x.strides[3] == 1) and depth % 4 == 0
        with packing(w, x, "uint16_t", self.tiles.columns, self.tiles.line) as start:
            w.line(f"memset(to, 0, (size_t)first * {2 * groups});")
            w.line(f"const int8_t *const from = {start};")
            w.line(f"uint16_t *const inner = to + (ptrdiff_t)first * {groups};")
            if dense and (x.strides[2] == depth or width == 1):
                self._pack_run(w, f"(last - first) * {depth // 4}", "from", "inner")
            else:
                with w.block("for (int32_t column = 0; column < last - first; ++column)"):
                    w.line(f"const int8_t *const pixel = from + (ptrdiff_t)column * {x.strides[2]};")
                    w.line(f"uint16_t *const packed = inner + (ptrdiff_t)column * {groups};")
                    if dense:
                        self._pack_run(w, str(depth // 4), "pixel", "packed")
                    else:
                        self._pack_channels(w, depth, x.strides[3])
            rest = f"(size_t)({self.tiles.columns} - last) * {2 * groups}"
            w.line(f"memset(to + (ptrdiff_t)last * {groups}, 0, {rest});")
        w.line()

    def _pack_run(self, w: Writer, count: str, source: str, target: str) -> None:
        """Write the loop over runs of four neighbouring signs, which are computed in the bytes of a word."""
        with w.block(f"for (int32_t k = 0; k < {count}; ++k)"):
            w.line("uint32_t x;")
            w.line(f"memcpy(&x, {source} + 4 * (ptrdiff_t)k, sizeof x);")
            w.line("const uint32_t negative = x >> 7 & 0x01010101u;")
            other = "0x01010101u" if self.binary else "((((x & 0x7f7f7f7fu) + 0x7f7f7f7fu) | x) >> 7 & 0x01010101u)"
            w.line(f"const uint32_t signs = {other} | negative << 1;")
            w.line("const uint32_t pairs = (signs | signs >> 6) & 0x000f000fu;")
            if self.table.signs == 4:
                w.line(f"{target}[k] = (uint16_t)((pairs << 4 | pairs >> 8) & 0xff0u);")
            else:
                w.line("const uint32_t places = pairs << 4;")
                w.line(f"memcpy({target} + 2 * (ptrdiff_t)k, &places, sizeof places);")

    def _pack_channels(self, w: Writer, depth: int, stride: int) -> None:
        """Write the loop over single signs of a pixel."""
        with w.loop("g", self.s.depth):
            w.line("uint32_t place = 0;")
            with w.block(f"for (int32_t j = 0; j < {self.table.signs}; ++j)"):
                w.line(f"const int32_t c = g * {self.table.signs} + j;")
                w.line(f"const int32_t v = c < {depth} ? pixel[(ptrdiff_t)c * {stride}] : 0;")
                one = f"c < {depth}" if self.binary else "v > 0"
                w.line(f"place |= (v < 0 ? 3u : {one} ? 1u : 0u) << (4 + 2 * j);")
            w.line("packed[g] = (uint16_t)place;")

    def _tile(self, w: Writer, variant: int, rows: int, vectors: int, tail: int | None) -> None:
        """Write the function of one register tile."""
        epilogue, y = self.w.epilogue, self.w.y
        wide = -(-vectors // BYTES)
        parameters = ["const uint16_t *x", "const int8_t *w", "const uint8_t *entries", "const int32_t *b"]
        parameters.append(f"{y.dtype.c} *y{epilogue.parameters}")
        sums = [(r, v) for r in range(rows) for v in range(wide)]
        with w.block(f"static void {self.tiles.function(variant, rows)}({', '.join(parameters)})"):
            totals = [f"{half}{r}_{v} = {{0}}" for r, v in sums for half in _halves(v, vectors)]
            w.line(f"es_u {', '.join(totals)};")
            loops = []
            if self.w.kernel[0] > 1:
                loops.append(f"for (ptrdiff_t i = 0; i < {self.w.kernel[0]}; ++i)")
            if self.s.runs > 1:
                loops.append(f"for (ptrdiff_t j = 0; j < {self.s.runs}; ++j)")
            start = "x" + (f" + i * {self.w.dilations[0] * self.tiles.line}" if self.w.kernel[0] > 1 else "")
            start += f" + j * {self.w.dilations[1] * self.s.depth}" if self.s.runs > 1 else ""
            self._nest(w, loops, start, rows, vectors)
            for row in range(rows):
                with w.block(""):
                    for v in range(vectors):
                        pair = f"{'eo'[v % 2]}{row}_{v // BYTES}"
                        found = f"(es_m)({pair} >> 16)" if v % BYTES > 1 else f"(es_m)({pair} & 0xffff)"
                        factor = f" * {self.table.factor}" if self.table.factor > 1 else ""
                        w.line(f"const es_m c{row}_{v} = es_load_i32(b + {v * self.lanes}) + {found}{factor};")
                    epilogue.store(w, y, [row], vectors, tail, row_axis=2)
        w.line()

    def _nest(self, w: Writer, loops: list[str], start: str, rows: int, vectors: int) -> None:
        if loops:
            with w.block(loops[0]):
                self._nest(w, loops[1:], start, rows, vectors)
            return
        parts = -(-self.s.run // self.table.most_steps)
        part = self.s.run // parts
        with w.block(""):
            w.line(f"const uint16_t *xk = {start};")
            if parts > 1:
                with w.block(f"for (ptrdiff_t part = 0; part < {parts}; ++part)"):
                    self._part(w, part, rows, vectors)
            else:
                self._part(w, part, rows, vectors)
            if self.s.run - parts * part:
                self._part(w, self.s.run - parts * part, rows, vectors)

    def _part(self, w: Writer, steps: int, rows: int, vectors: int) -> None:
        """Write lookups that are summed in bytes, and the addition of those to 16-bit numbers."""
        wide = -(-vectors // BYTES)
        sums = [(r, v) for r in range(rows) for v in range(wide)]
        with w.block(""):
            w.line("es_u " + ", ".join(f"s{r}_{v} = {{0}}" for r, v in sums) + ";")
            rounds, rest = divmod(steps, UNROLLED_STEPS)
            if rounds:
                with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)"):
                    self._steps(w, UNROLLED_STEPS, rows, wide)
            if rest:
                self._steps(w, rest, rows, wide)
            for r, v in sums:
                for half in _halves(v, vectors):
                    shift = "" if half == "e" else " >> 8"
                    w.line(f"{half}{r}_{v} += s{r}_{v}{shift} & 0x00ff00ff;")

    def _steps(self, w: Writer, count: int, rows: int, wide: int) -> None:
        for u in range(count):
            with w.block(""):
                for v in range(wide):
                    w.line(f"const es_m b{v} = es_quads_i8(w + {(u * wide + v) * self.lanes * BYTES});")
                for r in range(rows):
                    w.line(f"const uint8_t *const t{r} = entries + xk[{u + r * self.tiles.pixel}];")
                    for v in range(wide):
                        w.line(f"s{r}_{v} += (es_u)es_shuffle16(t{r}, b{v});")
        w.line(f"xk += {count};")
        w.line(f"w += {count * wide * self.lanes * BYTES};")


def _halves(wide: int, vectors: int) -> str:
    """Prefixes of the 16-bit sums of a vector of bytes: of the even and, where channels need them, the odd ones.

    Args:
        vectors: vectors of channels in all.
    """
    return "eo" if vectors - wide * BYTES > 1 else "e"
