"""Depthwise convolution of bytes: products are summed in 16 bits as long as no sum can exceed them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import Code, Problem, Reject, Schedule, kernel
from edgesmith.kernels.cycles import cycles_of
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.depthwise_kernel import DepthwiseKernel
from edgesmith.kernels.integer.depthwise_loops import DepthwiseLoops
from edgesmith.kernels.integer.depthwise_tiling import Cut, columns_read
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.target import Target

KEPT = 8
MOST = 32767 // 128
"""Sum of magnitudes of weights whose products with bytes fit 16 bits in any case."""
STEP_NS = 60.0
TARGET_TASKS = 16
TILE_UOPS = 24.0
COPY_UOPS = 4.0


@dataclass(frozen=True)
class Form:
    """How an instruction set multiplies bytes and sums the products in 16 bits.

    Args:
        load: primitive that loads the channels of a tile.
        multiply, add: primitives of the products, and of sums of them, for each two vectors of sums.
        spare: registers that a tile leaves to the compiler.
    """

    load: str
    multiply: tuple[str, ...]
    add: tuple[str, ...]
    spare: int = 0

    @property
    def vectors(self) -> int:
        """Vectors of sums of a tile's channels."""
        return 2 * len(self.add)


BYTES = Form("quads_i8", ("mul_i8_low", "mul_i8_high"), ("mla_i8_low", "mla_i8_high"))
SHORTS = Form("pairs_i8", ("mul_i16",), ("mla_i16",), 6)
"""Bytes are widened when they are loaded."""


def form_of(target: Target) -> Form | None:
    """A target's; None where it has no such instructions."""
    return next((form for form in (BYTES, SHORTS) if target.has(form.add[0])), None)


@dataclass(frozen=True)
class Run:
    """Kernel elements, counted line by line, whose products are summed in 16 bits."""

    first: int
    last: int


def runs(weights: np.ndarray) -> list[Run]:
    """All kernel elements in runs, as long as they can be.

    Args:
        weights: (channels, kernel elements).
    """
    found: list[Run] = []
    sums = np.zeros(len(weights), np.int64)
    for element, magnitudes in enumerate(np.abs(weights.astype(np.int64)).T):
        if found and (sums + magnitudes).max(initial=0) <= MOST:
            found[-1] = Run(found[-1].first, element)
            sums += magnitudes
        else:
            found.append(Run(element, element))
            sums = magnitudes
    return found


@kernel
class DepthwiseBytes(DepthwiseKernel):
    """Each byte of a vector is multiplied with the weight of its channel, and products are summed in lanes of 16 bits.

    Where the weights let a sum exceed 16 bits it is added to sums in 32 bits before; how many products that takes is
    known when the code is written. Input lines of some channels are copied side by side, with the padding in place.
    """

    name: ClassVar[str] = "integer-depthwise-bytes"

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem)
        if refusal := self.refusal(window):
            return Reject(refusal)
        if form_of(problem.target) is None:
            return Reject("no instruction multiplies bytes lane by lane")
        if abs(window.weights).max(initial=0) > 128 or window.weights.max(initial=0) > 127:
            return Reject("weights do not fit bytes")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        window = integer_window(problem)
        found = sorted(cuts(window), key=lambda c: nanoseconds(window, c))
        return [c.schedule for c in found[:KEPT]]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return nanoseconds(integer_window(problem), Cut(**schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return integer_window(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return DepthwiseBytesCode(integer_window(problem), Cut(**schedule)).code()


def cuts(window: IntegerWindow) -> Iterator[Cut]:
    images, lines, columns, channels = window.y.shape
    target = window.problem.target
    form = form_of(target)
    assert form is not None
    together = form.vectors
    most = together * -(-channels // (together * target.lanes))
    for height in (1, 2, 3):
        for width in range(1, 9):
            if height > lines or RowTiles.of(columns, width).height != width:
                continue
            # Sums, products of one output, a line of inputs and a weight.
            products = together // 2
            if together * height * width + products + columns_read(window, width) + 1 + form.spare > target.registers:
                continue
            for vectors in sorted({min(most, together * n) for n in (1, 2, 4)}):
                blocks, bands = -(-most // vectors), -(-lines // height)
                wanted = max(1, images * blocks * bands // TARGET_TASKS)
                for some in sorted({min(bands, n) for n in (1, 2, 4, wanted)}):
                    yield Cut(height, width, some, vectors)


def nanoseconds(window: IntegerWindow, cut: Cut) -> float:
    """Predicted time on one core."""
    images, lines, columns, channels = window.y.shape
    target = window.problem.target
    form = form_of(target)
    assert form is not None
    together = form.vectors
    taps, rows = window.kernel[0] * window.kernel[1], (cut.height - 1) * window.strides[0] + window.kernel[0]
    widenings = len(runs(window.weights.reshape(channels, -1)))
    epilogue = together * target.core.uops_per_cycle * (cycles_of(window.epilogue.expr, target) + 1.0)
    uops = 0.0
    for width, count in RowTiles.of(columns, cut.width).heights:
        outputs = cut.height * width
        loads = rows * columns_read(window, width) + cut.height * taps
        sums = outputs * (together // 2 * taps + together * widenings)
        # Half of the units multiply or add vectors.
        uops += count * (2 * sums + loads + TILE_UOPS + outputs * epilogue)
    tiles = images * -(-lines // cut.height) * -(-channels // (together * target.lanes))
    tasks = images * -(-channels // (cut.vectors * target.lanes)) * -(-lines // (cut.height * cut.bands))
    copied = ((cut.bands - 1) * cut.height * window.strides[0] + rows) * columns_read(window, columns)
    uops = uops * tiles + tasks * (copied * (COPY_UOPS + cut.vectors) + 240.0)
    return STEP_NS + uops / target.core.uops_per_cycle / target.gigahertz


class DepthwiseBytesCode(DepthwiseLoops):
    """Writes the register tiles."""

    name: ClassVar[str] = "depthwise_bytes"

    def __init__(self, window: IntegerWindow, cut: Cut) -> None:
        form = form_of(window.problem.target)
        assert form is not None
        self.form = form
        super().__init__(
            window,
            cut,
            step=form.vectors * window.problem.target.lanes,
            lines=(cut.height - 1) * window.strides[0] + window.kernel[0],
            packed=DType.I8,
            shift=-128 if window.x.dtype is DType.U8 else 0,
            weight=DType.I8,
            each=window.kernel[0] * window.kernel[1],
        )
        self.start = window.narrow_epilogue.start
        self.elements = window.weights.reshape(window.channels, -1)
        self.runs = runs(self.elements)

    def _weights(self) -> np.ndarray:
        """(blocks of channels, kernel elements, channels of a block)."""
        padded = np.zeros((self.padded, self.each), np.int8)
        padded[: self.channels] = self.elements
        return np.ascontiguousarray(padded.reshape(-1, self.step, self.each).transpose(0, 2, 1))

    def _prepare(self, w: Writer, constants: int) -> bool:
        return False

    def _copy(self, w: Writer, count: str) -> None:
        """Write the copying of a pixel: vectors, then words, as many as there are."""
        if not self.shift or self.form is SHORTS:
            super()._copy(w, count)
            return
        number = int(count) if count.isdigit() else self.channels % self.pixel
        whole = number // self.step * self.step
        if whole:
            with w.block(f"for (int32_t c = 0; c < {whole}; c += {self.step})"):
                w.line("const es_m bytes = es_quads_u8(from + c) ^ (int32_t)0x80808080;")
                w.line("memcpy(pixel + c, &bytes, sizeof bytes);")
        for nbytes in (8, 4, 2, 1):
            at = whole + (number - whole) // (2 * nbytes) * (2 * nbytes)
            if (number - whole) & nbytes:
                with w.block(""):
                    w.line(f"uint{8 * nbytes}_t bytes;")
                    w.line(f"memcpy(&bytes, from + {at}, sizeof bytes);")
                    w.line(f"bytes ^= (uint{8 * nbytes}_t)0x{'80' * nbytes}u{'ll' * (nbytes == 8)};")
                    w.line(f"memcpy(pixel + {at}, &bytes, sizeof bytes);")

    def _tile(self, w: Writer, height: int, width: int, tail: int | None) -> None:
        epilogue, y = self.w.narrow_epilogue, self.w.y
        vectors = -(-(tail or self.step) // self.lanes)
        whole = vectors - bool((tail or 0) % self.lanes)
        parameters = ["const int8_t *x", "const int8_t *w", "const int32_t *b", f"{y.dtype.c} *y{epilogue.parameters}"]
        with w.block(f"static void {self._function(height, width, tail)}({', '.join(parameters)})"):
            places = [(line, u) for line in range(height) for u in range(width)]
            for v in range(vectors):
                w.line(f"const es_m b{v} = es_load_i32(b + {v * self.lanes});")
                w.line("es_m " + ", ".join(f"c{line}_{u}_{v} = b{v}" for line, u in places) + ";")
            for half in range(-(-vectors // 2)):
                w.line("es_m " + ", ".join(f"p{line}_{u}_{half}" for line, u in places) + ";")
            for row in range((height - 1) * self.w.strides[0] + self.w.kernel[0]):
                self._row_of_sums(w, row, height, width, vectors)
            for line, u in places:
                sums = [f"c{line}_{u}_{v}" for v in range(vectors)]
                at = [partial(self._address, line, u, v) for v in range(vectors)]
                if whole:
                    epilogue.store_vectors(w, y, sums[:whole], at[:whole], adjacent=y.strides[3] == 1)
                if whole < vectors:
                    epilogue.store_vectors(w, y, sums[whole:], at[whole:], (tail or 0) % self.lanes)
        w.line()

    def _row_of_sums(self, w: Writer, row: int, height: int, width: int, vectors: int) -> None:
        """Write what a line of the input adds to the sums."""
        columns, stride, step = self.w.kernel[1], self.w.strides[1], self.w.dilations[1]
        lines = [(line, row - line * self.w.strides[0]) for line in range(height)]
        lines = [(line, k) for line, k in lines if 0 <= k < self.w.kernel[0]]
        if not lines:
            return
        with w.block(""):
            for column in sorted({u * stride + k * step for u in range(width) for k in range(columns)}):
                w.line(f"const es_m a{column} = es_{self.form.load}(x + {row * self.line + column * self.pixel});")
            for line, k in lines:
                for element in range(k * columns, (k + 1) * columns):
                    w.line(f"const es_m w{element} = es_{self.form.load}(w + {element * self.step});")
                    for u in range(width):
                        operand = f"a{u * stride + (element - k * columns) * step}"
                        self._element(w, f"{line}_{u}", element, operand, vectors)

    def _element(self, w: Writer, output: str, element: int, operand: str, vectors: int) -> None:
        """Write the products of a kernel element for an output, and what ends with them."""
        run = next(r for r in self.runs if r.first <= element <= r.last)
        for half in range(-(-vectors // 2)):
            total = f"p{output}_{half}"
            if element == run.first:
                w.line(f"{total} = es_{self.form.multiply[half]}({operand}, w{element});")
            else:
                w.line(f"{total} = es_{self.form.add[half]}({total}, {operand}, w{element});")
        if element == run.last:
            for v in range(vectors):
                total, part = f"c{output}_{v}", ("low", "high")[v % 2]
                w.line(f"{total} = es_add_i16_{part}({total}, p{output}_{v // 2});")
