"""Depthwise convolution of integers: two kernel lines at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import (
    PREPARE_SIGNATURE,
    SIGNATURE,
    Code,
    Kernel,
    Problem,
    Reject,
    Schedule,
    kernel,
    unpack,
)
from edgesmith.kernels.cycles import FLOAT_BYTES, FMA_PER_CYCLE, GIGAHERTZ, LOADS_PER_CYCLE, UOPS_PER_CYCLE, cycles_of
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.lines import starting_sums
from edgesmith.kernels.integer.wide import (
    PartialSums,
    digits,
    largest_input,
    partial_sum,
    write_floats,
    write_words,
)
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.kernels.lanes import load
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops import Array
from edgesmith.ops.integer_products import ConvInteger

STEP_NS = 60.0
TARGET_TASKS = 16
PAIR_UOPS = 2.0
DOT_UOPS = 2.0
TILE_CYCLES = 12.0
COPY_CYCLES = 1.5
KEPT = 8
EXACT_SUM = 2**24
"""Integers up to this size are numbers of f32."""


@kernel
class IntegerDepthwise(Kernel):
    """Each lane multiplies two neighbouring lines of one channel at once.

    Input lines of some channels are copied side by side, with the padding in place. Two lines of a column, interleaved
    by channel, are one vector; it serves every output whose window meets that column, with weights of two kernel lines
    (one of them 0 where the window begins or ends between the two).

    Or they are copied as floats and multiplied as such, which is as exact while sums stay below 2**24, and faster where
    an instruction that adds pairs of products does not add to a third operand.
    """

    name: ClassVar[str] = "integer-depthwise"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, ConvInteger) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem, any_width=True)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != window.channels or window.x.shape[3] != window.channels:
            return Reject(f"{window.group} groups of {window.x.shape[3]} channels, {window.channels} filters")
        if window.dilations[0] != 1:
            return Reject("lines are dilated")
        return Reject("sums of one byte of the weights do not fit 32 bits") if _digits(window) is None else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        window = integer_window(problem, any_width=True)
        found = [b for b in _blockings(window) if _Tile(window, b).registers < problem.target.registers]
        best = sorted(found, key=lambda b: _nanoseconds(window, b))
        kinds = [[b for b in best if b.floats == floats][:KEPT] for floats in (False, True)]
        return [b.schedule for kind in kinds for b in kind]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return _nanoseconds(integer_window(problem, any_width=True), _Blocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return integer_window(problem, any_width=True).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(integer_window(problem, any_width=True), _Blocking.of(schedule)).code()


@dataclass(frozen=True)
class _Blocking:
    """How the loops are cut.

    Args:
        height, width: output lines and columns of a register tile.
        bands: register tiles above one another in a task.
        vectors: vectors of channels of a task.
        floats: multiply floats.
    """

    height: int
    width: int
    bands: int
    vectors: int
    floats: bool

    @classmethod
    def of(cls, s: Schedule) -> _Blocking:
        return cls(s["height"], s["width"], s["bands"], s["vectors"], bool(s["floats"]))

    @property
    def schedule(self) -> Schedule:
        sizes = {"height": self.height, "width": self.width, "bands": self.bands, "vectors": self.vectors}
        return {**sizes, "floats": int(self.floats)}


class _Tile:
    """Which pairs of input lines meet which outputs of a register tile."""

    def __init__(self, window: IntegerWindow, b: _Blocking) -> None:
        self.height, self.width = b.height, b.width
        self.kernel, self.strides = window.kernel, window.strides
        self.step = window.dilations[1]
        self.floats = b.floats
        self.lines = (b.height - 1) * window.strides[0] + window.kernel[0]
        self.pairs = -(-self.lines // 2)
        self.words = 3 if window.wide else 1

    def columns(self, width: int) -> int:
        """Input columns of a tile of some output columns."""
        return (width - 1) * self.strides[1] + (self.kernel[1] - 1) * self.step + 1

    def first(self, line: int) -> tuple[int, int]:
        """The first pair that output line ``line`` meets, and the kernel line of its first half: 0, or -1."""
        return line * self.strides[0] // 2, -(line * self.strides[0] % 2)

    def met(self, line: int) -> range:
        """Pairs that output line ``line`` meets."""
        top = line * self.strides[0]
        return range(top // 2, (top + self.kernel[0] - 1) // 2 + 1)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Kernel lines of the first half of the first pair, over all output lines."""
        return tuple(sorted({self.first(line)[1] for line in range(self.height)}, reverse=True))

    @property
    def weight_pairs(self) -> int:
        """Pairs of kernel lines for one shift, at most."""
        return (self.kernel[0] + 1) // 2 if self.shifts == (0,) else self.kernel[0] // 2 + 1

    @property
    def dots(self) -> int:
        """Products of pairs for one column of outputs."""
        return sum(len(self.met(line)) for line in range(self.height)) * self.kernel[1]

    @property
    def registers(self) -> int:
        return self.words * self.height * self.width + (1 if self.floats else self.pairs) + 2


def _blockings(window: IntegerWindow) -> Iterator[_Blocking]:
    images, lines, columns, channels = window.y.shape
    target = window.problem.target
    most = -(-channels // target.lanes)
    for height in (1, 2, 3, 4):
        if height > lines:
            continue
        for width in range(1, 9):
            if RowTiles.of(columns, width).height != width:
                continue
            for vectors in sorted({min(most, n) for n in (2, 4, 8)}):
                blocks = -(-most // vectors)
                bands = -(-lines // height)
                wanted = max(1, images * blocks * bands // TARGET_TASKS)
                for some in sorted({min(bands, n) for n in (1, 2, 4, wanted)}):
                    for floats in (False, True) if _fits_floats(window) else (False,):
                        yield _Blocking(height, width, some, vectors, floats)


def _fits_floats(window: IntegerWindow) -> bool:
    """Whether sums of products as floats are exact."""
    if window.wide:
        return False
    most = np.abs(window.weights.astype(np.int64)).reshape(window.channels, -1).sum(1).max(initial=0)
    return bool(largest_input(window, 0) * most < EXACT_SUM)


def _shift(window: IntegerWindow, b: _Blocking) -> int:
    """What is added to inputs so that instructions on signed numbers can multiply them."""
    return -(1 << 15) if window.input_type is DType.U16 and not b.floats else 0


def _digits(window: IntegerWindow) -> list[np.ndarray] | None:
    """Weights as they are multiplied, (channels, lines, columns, 1); None where their sums do not fit 32 bits."""
    if not window.wide:
        return [window.weights]
    found = digits(window.weights)
    flat = np.stack(found).reshape(len(found), window.channels, -1)
    largest = largest_input(window, -(1 << 15) if window.input_type is DType.U16 else 0)
    partial = PartialSums.of(flat, largest, 1)
    return None if partial is None or partial.elements else found


def _nanoseconds(window: IntegerWindow, b: _Blocking) -> float:
    """Predicted time on one core."""
    tile = _Tile(window, b)
    images, lines, columns, channels = window.y.shape
    target = window.problem.target
    vectors = -(-channels // target.lanes)
    bands = -(-lines // b.height)
    epilogue = cycles_of(window.epilogue.expr) + 2.0
    cycles = 0.0
    for width, count in RowTiles.of(columns, b.width).heights:
        read = tile.columns(width) * tile.pairs
        dots = width * tile.dots * len(_digits(window) or ())
        if b.floats:
            products = width * b.height * window.kernel[0] * window.kernel[1]
            uops, loads = products / FMA_PER_CYCLE, (tile.columns(width) * tile.lines + products) / LOADS_PER_CYCLE
        else:
            uops = (read * PAIR_UOPS + dots * DOT_UOPS) / UOPS_PER_CYCLE
            loads = (2 * read + dots) / LOADS_PER_CYCLE
        cycles += count * (max(uops, loads) + TILE_CYCLES + width * b.height * epilogue)
    cycles *= images * bands * vectors
    packed = _packed_lines(tile, b) * _packed_columns(window, tile)
    tasks = images * -(-vectors // b.vectors) * -(-bands // b.bands)
    size = FLOAT_BYTES if b.floats else window.input_type.itemsize
    spill = 2.0 if packed * b.vectors * target.lanes * size > target.l1_bytes // 2 else 1.0
    copying = COPY_CYCLES + b.vectors * target.lanes * size / 64 + (2.0 * b.vectors if b.floats else 0.0)
    cycles += tasks * (packed * copying * spill + 60.0)
    return STEP_NS + cycles / GIGAHERTZ


def _packed_lines(tile: _Tile, b: _Blocking) -> int:
    """Input lines of a task; pairs are whole."""
    return (b.bands - 1) * b.height * tile.strides[0] + 2 * tile.pairs


def _packed_columns(window: IntegerWindow, tile: _Tile) -> int:
    return tile.columns(window.y.shape[2])


class _Emitter:
    """Writes the copying, the tiles and the loops."""

    def __init__(self, window: IntegerWindow, b: _Blocking) -> None:
        self.w, self.b, self.tile = window, b, _Tile(window, b)
        self.lanes = window.problem.target.lanes
        self.channels = window.channels
        self.vectors = -(-self.channels // self.lanes)
        self.columns = RowTiles.of(window.y.shape[2], b.width)
        self.bands = -(-window.y.shape[1] // b.height)
        self.pixel = b.vectors * self.lanes
        """Packed bytes of a pixel."""
        self.line = _packed_columns(window, self.tile) * self.pixel
        self.shift = _shift(window, b)
        """What is added to inputs when they are copied."""
        self.packed = DType.F32 if b.floats else DType.I16 if self.shift else window.x.dtype
        self.digits = _digits(window) or []
        taps = window.kernel[0] * window.kernel[1]
        pairs = len(self.tile.shifts) * self.tile.weight_pairs * window.kernel[1]
        self.prepared = taps if b.floats else 2 * pairs * len(self.digits)
        """Prepared weights of a channel."""
        self.weight = DType.F32 if b.floats else DType.I16

    def code(self) -> Code:
        epilogue = self.w.epilogue
        constants = [("weights", self._weights()), ("bias", self.starts), *epilogue.constants]
        w = Writer()
        self._prepare(w, len(constants))
        self._pack(w)
        for width, _ in self.columns.heights:
            for height in self._heights():
                for tail in self._tails():
                    self._tile(w, height, width, tail)
        first = len(self.w.problem.region.inputs) + 1 + len(constants)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            kind = f"const {self.weight.c} *"
            w.line(f"{kind}const prepared = ({kind})p[{first}];")
            w.line("(void)weights;")
            tasks = self._tasks(w)
        size = "x".join(map(str, self.w.kernel))
        label = f"convinteger{size}_depthwise_{self.w.input_type}{epilogue.label}_{self.b.height}x{self.b.width}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            tasks,
            _packed_lines(self.tile, self.b) * self.line * self.packed.itemsize,
            functions=epilogue.functions,
            prepared_bytes=self.vectors * self.lanes * self.prepared * self.weight.itemsize,
        )

    def _weights(self) -> np.ndarray:
        """(digits, channels, kernel lines, kernel columns), flat, in the smallest type that holds them."""
        flat = np.stack(self.digits).reshape(-1)
        return flat.astype(np.int8) if flat.min() >= -128 and flat.max() <= 127 else flat

    @cached_property
    def starts(self) -> np.ndarray:
        """What the sums start with."""
        return starting_sums(self.w, self.shift, self.lanes)

    def _prepare(self, w: Writer, constants: int) -> None:
        """Write the function that lays out weights: vector of channels, digit, shift, pair, column, channel, half."""
        lines, columns = self.w.kernel
        kind = "int8_t" if self._weights().dtype == np.int8 else "int16_t"
        first = len(self.w.problem.region.inputs) + 1
        with w.block(PREPARE_SIGNATURE):
            w.line(f"const {kind} *const weights = (const {kind} *)p[{first}];")
            w.line(f"{self.weight.c} *to = ({self.weight.c} *)p[{first + constants}];")
            if self.b.floats:
                with w.nest([("vector", self.vectors), ("tap", lines * columns), ("lane", self.lanes)]):
                    w.line(f"const int32_t channel = vector * {self.lanes} + lane;")
                    at = f"channel * {lines * columns} + tap"
                    w.line(f"*to++ = channel < {self.channels} ? (float)weights[{at}] : 0.0f;")
                return
            shifts = ", ".join(map(str, self.tile.shifts))
            w.line(f"static const int32_t shifts[] = {{{shifts}}};")
            loops = [
                ("vector", self.vectors),
                ("digit", len(self.digits)),
                ("shift", len(self.tile.shifts)),
                ("pair", self.tile.weight_pairs),
            ]
            with w.nest([*loops, ("column", columns), ("lane", self.lanes), ("half", 2)]):
                w.line(f"const int32_t channel = vector * {self.lanes} + lane;")
                w.line("const int32_t line = shifts[shift] + 2 * pair + half;")
                inside = f"channel < {self.channels} && line >= 0 && line < {lines}"
                at = f"((digit * {self.channels} + channel) * {lines} + line) * {columns} + column"
                w.line(f"*to++ = (int16_t)({inside} ? weights[{at}] : 0);")
        w.line()

    def _pack(self, w: Writer) -> None:
        """Write the function that copies some channels of some input lines, padded."""
        x, kind = self.w.x, self.w.x.dtype.c
        height, width = x.shape[1], x.shape[2]
        columns = _packed_columns(self.w, self.tile)
        left = self.w.pads[1]
        last = min(columns, left + width)
        parameters = f"const {kind} *x, const int32_t top, const int32_t lines, const int32_t channels"
        head = f"static void @NAME@_pack({parameters}, {self.packed.c} *to)"
        with w.block(head), w.block(f"for (int32_t i = 0; i < lines; ++i, to += {self.line})"):
            w.line("(void)channels;")
            w.line("const int32_t line = top + i;")
            with w.block(f"if (line < 0 || line >= {height})"):
                self._fill(w, "to", self.line)
                w.line("continue;")
            if left:
                self._fill(w, "to", left * self.pixel)
            w.line(f"const {kind} *from = x + (ptrdiff_t)line * {x.strides[1]};")
            step = f"++column, from += {x.strides[2]}"
            with w.block(f"for (int32_t column = {left}; column < {last}; {step})"):
                w.line(f"{self.packed.c} *const pixel = to + (ptrdiff_t)column * {self.pixel};")
                if (x.strides[3] == 1 or self.channels == 1) and self.channels % self.pixel == 0:
                    self._copy(w, str(self.pixel))
                elif x.strides[3] == 1 or self.channels == 1:
                    with w.block(f"if (channels == {self.pixel})"):
                        self._copy(w, str(self.pixel))
                    with w.block("else"):
                        self._copy(w, "channels")
                else:
                    with w.block("for (int32_t c = 0; c < channels; ++c)"):
                        w.line(f"pixel[c] = {self._packed_element(f'from[(ptrdiff_t)c * {x.strides[3]}]')};")
            if columns > last:
                self._fill(w, f"to + {last * self.pixel}", (columns - last) * self.pixel)
        w.line()

    def _fill(self, w: Writer, at: str, count: int) -> None:
        number = self.w.x_zero + self.shift
        if self.packed.itemsize > 1 and number:
            with w.block(f"for (int32_t k = 0; k < {count}; ++k)"):
                w.line(f"({at})[k] = {number}{'.0f' * self.b.floats};")
        else:
            w.line(f"memset({at}, {number}, {count * self.packed.itemsize});")

    def _packed_element(self, element: str) -> str:
        return f"({self.packed.c})({element} + {self.shift})" if self.shift else element

    def _copy(self, w: Writer, count: str) -> None:
        if self.packed is self.w.x.dtype:
            size = f" * {self.packed.itemsize}" if self.packed.itemsize > 1 else ""
            w.line(f"memcpy(pixel, from, {count if count.isdigit() else f'(size_t){count}'}{size});")
        elif self.b.floats and count.isdigit():
            with w.block(f"for (int32_t c = 0; c < {count}; c += {self.lanes})"):
                w.line(f"es_store(pixel + c, {load(self.w.x.dtype, 'from + c')});")
        else:
            with w.block(f"for (int32_t c = 0; c < {count}; ++c)"):
                w.line(f"pixel[c] = {self._packed_element('from[c]')};")

    def _heights(self) -> list[int]:
        """Output lines of register tiles: those of a whole band, and of the last one where it has fewer."""
        rest = self.w.y.shape[1] % self.b.height
        whole = [self.b.height] if self.w.y.shape[1] >= self.b.height else []
        return whole + ([rest] if rest else [])

    def _tails(self) -> list[int | None]:
        """Lanes of a vector: all, and those of the last one."""
        tail = self.channels % self.lanes
        return ([None] if self.channels >= self.lanes else []) + ([tail] if tail else [])

    @staticmethod
    def _function(height: int, width: int, tail: int | None) -> str:
        return f"@NAME@_{height}x{width}" + ("_tail" if tail else "")

    def _tile(self, w: Writer, height: int, width: int, tail: int | None) -> None:
        """Write the function of one register tile."""
        epilogue, y = self.w.epilogue, self.w.y
        parameters = [f"const {self.packed.c} *x", f"const {self.weight.c} *w", "const int32_t *b"]
        parameters.append(f"{y.dtype.c} *y{epilogue.parameters}")
        with w.block(f"static void {self._function(height, width, tail)}({', '.join(parameters)})"):
            if self.w.wide:
                self._wide_sums(w, height, width)
            else:
                w.line("const es_m bias = es_load_i32(b);")
                if self.b.floats:
                    self._float_sums(w, height, width)
                else:
                    for line in range(height):
                        w.line("es_m " + ", ".join(f"c{line}_{u} = bias" for u in range(width)) + ";")
                    self._pair_sums(w, height, width)
            tile = [(line, u) for line in range(height) for u in range(width)]
            addresses = [partial(self._address, line, u) for line, u in tile]
            epilogue.store_vectors(w, y, [f"c{line}_{u}" for line, u in tile], addresses, tail)
        w.line()

    def _wide_sums(self, w: Writer, height: int, width: int) -> None:
        """Write sums beyond 32 bits, digit by digit of the weights."""
        write_words(w, height, [("es_load_i32(b)", f"es_load_i32(b + {self.starts.size // 2})")] * width)
        for digit in range(len(self.digits)):
            with partial_sum(w, height, width, 8 * digit):
                self._pair_sums(w, height, width, digit)
        write_floats(w, height, width)

    def _pair_sums(self, w: Writer, height: int, width: int, digit: int = 0) -> None:
        """Write the sums ``c<line>_<column>`` of pairs of products with a digit of the weights."""
        tile, kind = self.tile, self.packed
        before = digit * len(tile.shifts) * tile.weight_pairs
        pairs = tile.met(height - 1)[-1] + 1
        for column in range(tile.columns(width)):
            users = [(u, k) for u in range(width) for k in range(tile.kernel[1])]
            users = [(u, k) for u, k in users if u * tile.strides[1] + k * tile.step == column]
            if not users:
                continue
            with w.block(""):
                for j in range(pairs):
                    at = f"x + {2 * j * self.line + column * self.pixel}"
                    w.line(f"const es_m a{j} = es_zip_{kind}({at}, {at} + {self.line});")
                for line in range(height):
                    start, shift = tile.first(line)
                    for j in tile.met(line):
                        for u, k in users:
                            number = before + tile.shifts.index(shift) * tile.weight_pairs + j - start
                            weight = f"es_pairs_i16(w + {(number * tile.kernel[1] + k) * 2 * self.lanes})"
                            w.line(f"c{line}_{u} = es_dot2(c{line}_{u}, a{j}, {weight});")

    def _float_sums(self, w: Writer, height: int, width: int) -> None:
        """Write the same by floats: each input vector meets every window that it lies in."""
        tile = self.tile
        for line in range(height):
            w.line("es_v " + ", ".join(f"f{line}_{u} = es_set1(0.0f)" for u in range(width)) + ";")
        for row in range((height - 1) * tile.strides[0] + tile.kernel[0]):
            for column in range(tile.columns(width)):
                lines = [(t, row - t * tile.strides[0]) for t in range(height)]
                places = [(u, k) for u in range(width) for k in range(tile.kernel[1])]
                users = [
                    (t, u, i * tile.kernel[1] + k)
                    for t, i in lines
                    if 0 <= i < tile.kernel[0]
                    for u, k in places
                    if u * tile.strides[1] + k * tile.step == column
                ]
                if users:
                    with w.block(""):
                        w.line(f"const es_v a = es_load(x + {row * self.line + column * self.pixel});")
                        for t, u, tap in users:
                            w.line(f"f{t}_{u} = es_fma(a, es_load(w + {tap * self.lanes}), f{t}_{u});")
        for line in range(height):
            for u in range(width):
                w.line(f"const es_m c{line}_{u} = es_to_i32(f{line}_{u}) + bias;")

    @staticmethod
    def _address(line: int, column: int, array: Array) -> str:
        shift = line * array.view.strides[1] + column * array.view.strides[2]
        return f"{array.pointer} + {shift}" if shift else array.pointer

    def _tasks(self, w: Writer) -> int:
        b, window, tile = self.b, self.w, self.tile
        blocks, stacks = -(-self.vectors // b.vectors), -(-self.bands // b.bands)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("n", window.y.shape[0]), ("stack", stacks), ("block", blocks)])
            w.line(f"const int32_t first_channel = block * {self.pixel};")
            w.line(f"const int32_t rest = {self.channels} - first_channel;")
            w.line(f"const int32_t channels = rest < {self.pixel} ? rest : {self.pixel};")
            w.line(f"const int32_t first_band = stack * {b.bands};")
            w.line(f"const int32_t more = {self.bands} - first_band;")
            w.line(f"const int32_t bands = more < {b.bands} ? more : {b.bands};")
            kind = self.packed.c
            w.line(f"{kind} *const packed = ({kind} *)scratch;")
            band = b.height * window.strides[0]
            lines = f"(bands - 1) * {band} + {2 * tile.pairs}"
            image = f"x0 + {strided(window.x, [(0, 'n'), (3, 'first_channel')])}"
            w.line(f"@NAME@_pack({image}, first_band * {band} - {window.pads[0]}, {lines}, channels, packed);")
            with (
                w.block(f"for (int32_t at = 0; at < channels; at += {self.lanes})"),
                w.block("for (int32_t band = 0; band < bands; ++band)"),
            ):
                w.line("const int32_t channel = first_channel + at;")
                w.line(f"const int32_t line = (first_band + band) * {b.height};")
                w.line(f"const {self.weight.c} *const wp = prepared + (ptrdiff_t)channel * {self.prepared};")
                self._row(w)
        return prod((window.y.shape[0], stacks, blocks))

    def _row(self, w: Writer) -> None:
        """Write the loop over the tiles of a band."""
        window, b = self.w, self.b
        position = [(0, "n"), (1, "line"), (2, "row"), (3, "channel")]
        band, column = b.height * window.strides[0] * self.line, window.strides[1] * self.pixel
        at = f"band * {band} + (ptrdiff_t)row * {column} + at"
        arguments = [f"packed + (ptrdiff_t){at}", "wp", "bias + channel"]
        arguments.append(f"y0 + {strided(window.y, position)}{window.epilogue.arguments(position)}")

        def rows(height: int, tail: int | None) -> None:
            def call(width: int) -> str:
                return f"{self._function(height, width, tail)}({', '.join(arguments)});"

            self.columns.write(w, "0", str(self.columns.count), None, call)

        def bands(tail: int | None) -> None:
            heights = self._heights()
            if len(heights) == 1:
                rows(heights[0], tail)
                return
            with w.block(f"if (line + {b.height} <= {window.y.shape[1]})"):
                rows(heights[0], tail)
            with w.block("else"):
                rows(heights[1], tail)

        tails = self._tails()
        if len(tails) == 1:
            bands(tails[0])
            return
        with w.block(f"if (channel + {self.lanes} <= {self.channels})"):
            bands(None)
        with w.block("else"):
            bands(tails[1])
