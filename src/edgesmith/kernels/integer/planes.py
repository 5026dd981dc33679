"""Depthwise convolution of integers channel by channel, which may write over its input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import SIGNATURE, Code, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import cycles_of
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.integer.depthwise_kernel import DepthwiseKernel
from edgesmith.kernels.integer.lines import starting_sums
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.ops import Array

STEP_NS = 60.0
COPY_INSTRUCTIONS = 5.0
LINE_INSTRUCTIONS = 20.0
CHANNEL_INSTRUCTIONS = 60.0
BANDS = (4, 8)
"""Output lines between two copies of input lines."""
WIDTHS = (1, 2, 4)


@kernel
class IntegerPlanes(DepthwiseKernel):
    """One channel after another, for processors without vectors.

    Some input lines of the channel are copied, with the padding in place; lines that the next ones share move up. What
    the outputs replace has then been read, so that a layer whose output has the shape of its input needs no second
    buffer (Lin et al., "MCUNet: Tiny Deep Learning on IoT Devices", 2020, section 3.2: in-place depthwise convolution).
    """

    name: ClassVar[str] = "integer-planes"

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem)
        if refusal := self.refusal(window):
            return Reject(refusal)
        if problem.target.lanes > 1:
            return Reject(f"computes one channel at a time; the target has vectors of {problem.target.lanes}")
        if window.dilations[1] != 1:
            return Reject("columns are dilated")
        if not _PlanesCode.narrow(window) and not problem.target.has("dot2"):
            return Reject("weights beyond 8 bits need products of 16 bits")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        _, lines, columns, _ = integer_window(problem).y.shape
        return [
            {"lines": min(band, lines), "width": width}
            for band in BANDS
            for width in WIDTHS
            if width <= columns and (band == BANDS[0] or lines > BANDS[0])
        ]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return _PlanesCode(integer_window(problem), schedule["lines"], schedule["width"]).nanoseconds()

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        window, value = integer_window(problem), problem.anchor.inputs[0]
        mine = window.epilogue.in_place(problem)
        x, y = problem.view(value), problem.view(problem.region.outputs[0])
        return (
            (value, *mine) if window.strides == (1, 1) and _same_bytes(x.dtype, y.dtype) and x.same_place(y) else mine
        )

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _PlanesCode(integer_window(problem), schedule["lines"], schedule["width"]).code()


def _same_bytes(a: DType, b: DType) -> bool:
    return a.itemsize == b.itemsize


class _PlanesCode:
    """Args: lines: output lines of a band; width: outputs of a line that are computed together."""

    def __init__(self, window: IntegerWindow, lines: int, width: int) -> None:
        self.w, self.band, self.width = window, lines, width
        target = window.problem.target
        self.pairs = target.has("dot2")
        """Whether two neighbours are multiplied at once."""
        self.packed = DType.I16 if self.pairs else window.x.dtype
        self.group = 2 if self.pairs else 1
        self.terms = -(-window.kernel[1] // self.group)
        """Groups of a kernel line."""
        columns = (window.y.shape[2] - 1) * window.strides[1] + self.terms * self.group
        self.columns = columns + columns % 2
        """Packed elements of a line; what lies beyond the window has weights of 0."""
        self.shared = max(window.kernel[0] - window.strides[0], 0)
        """Input lines that two neighbouring bands read."""
        self.lines = (lines - 1) * window.strides[0] + window.kernel[0]

    @staticmethod
    def narrow(window: IntegerWindow) -> bool:
        return bool(window.weights.min(initial=0) >= -128 and window.weights.max(initial=0) <= 127)

    def nanoseconds(self) -> float:
        target = self.w.problem.target
        images, height, width, channels = self.w.y.shape
        bands = -(-height // self.band)
        taps = self.w.kernel[0] * self.terms
        products = 2.0 if self.pairs else 4.0
        # Outputs that are computed together share what they read, as far as their windows meet.
        reads = 1.0 / self.width if self.w.strides[1] == 1 and self.pairs else 1.0
        spilled = max(0, self.w.kernel[0] * self.terms + self.width - 9) / self.width
        epilogue = cycles_of(self.w.epilogue.expr, target)
        outputs = height * width * (taps * (products - 1.0 + reads) + spilled + epilogue + 8.0)
        outputs += height * -(-width // self.width) * 4.0 + height * LINE_INSTRUCTIONS
        copied = (height * self.w.strides[0] + self.shared) * self.columns * COPY_INSTRUCTIONS
        moved = (bands - 1) * self.shared * self.columns * self.packed.itemsize / 2
        instructions = images * channels * (outputs + copied + moved + CHANNEL_INSTRUCTIONS)
        return STEP_NS + instructions / target.core.uops_per_cycle / target.gigahertz

    def code(self) -> Code:
        window, epilogue = self.w, self.w.epilogue
        constants = [("weights", self._weights()), ("bias", starting_sums(window, 0, 1)), *epilogue.constants]
        w = Writer()
        self._pack(w)
        self._plane(w)
        images, channels = window.y.shape[0], window.channels
        with w.block(SIGNATURE):
            w.lines(unpack(window.problem, constants))
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [("n", images), ("channel", channels)])
                position = [(0, "n"), (3, "channel")]
                taps = window.kernel[0] * self.terms * self.group
                arguments = [
                    f"x0 + {strided(window.x, position)}",
                    f"weights + (ptrdiff_t)channel * {taps}",
                    "bias[channel]",
                    f"({self.packed.c} *)scratch",
                    f"y0 + {strided(window.y, position)}{epilogue.arguments(position)}",
                ]
                w.line(f"@NAME@_plane({', '.join(arguments)});")
        size = "x".join(map(str, window.kernel))
        label = f"convinteger{size}_planes_{window.input_type}{epilogue.label}_{self.band}x{self.width}"
        scratch = self.lines * self.columns * self.packed.itemsize
        return Code(
            w.text(), label, tuple(a for _, a in constants), images * channels, scratch, functions=epilogue.functions
        )

    def _weights(self) -> np.ndarray:
        """(channels, kernel lines, kernel columns), lines filled up to whole groups, flat."""
        lines, columns = self.w.kernel
        found = np.zeros((self.w.channels, lines, self.terms * self.group), np.int16)
        found[:, :, :columns] = self.w.weights.reshape(self.w.channels, lines, columns)
        return found.reshape(-1).astype(np.int8 if self.narrow(self.w) else np.int16)

    def _pack(self, w: Writer) -> None:
        """Write the function that copies ``lines`` lines from the line ``top`` on."""
        x, kind, zero = self.w.x, self.w.x.dtype.c, self.w.x_zero
        left, width = self.w.pads[1], x.shape[2]
        last = min(self.columns, left + width)
        head = f"static void @NAME@_pack(const {kind} *x, const int32_t top, const int32_t lines, {self.packed.c} *to)"
        with w.block(head), w.block(f"for (int32_t i = 0; i < lines; ++i, to += {self.columns})"):
            w.line("const int32_t line = top + i;")
            with w.block(f"if (line < 0 || line >= {x.shape[1]})"):
                self._fill(w, 0, self.columns, zero)
                w.line("continue;")
            self._fill(w, 0, left, zero)
            w.line(f"const {kind} *from = x + (ptrdiff_t)line * {x.strides[1]};")
            with w.block(f"for (int32_t column = {left}; column < {last}; ++column, from += {x.strides[2]})"):
                w.line("to[column] = *from;")
            self._fill(w, last, self.columns, zero)
        w.line()

    @staticmethod
    def _fill(w: Writer, first: int, last: int, zero: int) -> None:
        if last > first:
            with w.block(f"for (int32_t column = {first}; column < {last}; ++column)"):
                w.line(f"to[column] = {zero};")

    def _plane(self, w: Writer) -> None:
        """Write the function of one channel of one image."""
        window, y = self.w, self.w.y
        weight = "int8_t" if self.narrow(window) else "int16_t"
        parameters = [f"const {window.x.dtype.c} *x", f"const {weight} *w", "const int32_t bias"]
        parameters += [f"{self.packed.c} *packed", f"{y.dtype.c} *y{window.epilogue.parameters}"]
        step, height = window.strides[0], y.shape[1]
        with w.block(f"static void @NAME@_plane({', '.join(parameters)})"):
            load = ("es_pairs_i8" if self.narrow(window) else "es_pairs_i16") if self.pairs else "es_each_i8"
            for i in range(window.kernel[0]):
                for j in range(self.terms):
                    at = (i * self.terms + j) * self.group
                    w.line(f"const es_m w{i}_{j} = {load}(w + {at});")
            if self.shared:
                w.line(f"@NAME@_pack(x, {-window.pads[0]}, {self.shared}, packed);")
            with w.block(f"for (int32_t first = 0; first < {height}; first += {self.band})"):
                w.line(f"const int32_t rest = {height} - first;")
                w.line(f"const int32_t lines = rest < {self.band} ? rest : {self.band};")
                if self.shared:
                    kept = self.shared * self.columns
                    with w.block("if (first > 0)"), w.block(f"for (int32_t k = 0; k < {kept}; ++k)"):
                        w.line(f"packed[k] = packed[{self.band * step * self.columns} + k];")
                fresh = f"first * {step} + {self.shared - window.pads[0]}"
                count = f"(lines - 1) * {step} + {window.kernel[0] - self.shared}"
                w.line(f"@NAME@_pack(x, {fresh}, {count}, packed + {self.shared * self.columns});")
                with w.block("for (int32_t i = 0; i < lines; ++i)"):
                    w.line("const int32_t line = first + i;")
                    w.line(f"const {self.packed.c} *at = packed + i * {step * self.columns};")
                    self._line(w)
        w.line()

    def _line(self, w: Writer) -> None:
        """Write the loop over the outputs of a line."""
        whole, rest = divmod(self.w.y.shape[2], self.width)
        with w.loop("tile", whole):
            self._tile(w, self.width, f"tile * {self.width}")
        if rest:
            with w.block(""):
                self._tile(w, rest, str(whole * self.width))

    def _tile(self, w: Writer, width: int, column: str) -> None:
        window, step = self.w, self.w.strides[1]
        w.line(f"const {self.packed.c} *const p = at + ({column}) * {step};")
        w.line("es_m " + ", ".join(f"c{u} = es_set1_i32(bias)" for u in range(width)) + ";")
        load = "es_pair" if self.pairs else f"es_one_{self.packed}"
        for i in range(window.kernel[0]):
            users: dict[int, list[tuple[int, int]]] = {}
            for u in range(width):
                for j in range(self.terms):
                    users.setdefault(u * step + j * self.group, []).append((u, j))
            for at, products in sorted(users.items()):
                w.line(f"const es_m a{i}_{at} = {load}(p + {i * self.columns + at});")
                for u, j in products:
                    w.line(f"c{u} = es_dot{self.group}(c{u}, a{i}_{at}, w{i}_{j});")
            if self.pairs:
                w.line(" ".join(f"ES_SETTLED(c{u});" for u in range(width)))
        addresses = [partial(self._address, column, u) for u in range(width)]
        window.epilogue.store_vectors(w, window.y, [f"c{u}" for u in range(width)], addresses)

    @staticmethod
    def _address(column: str, further: int, array: Array) -> str:
        return f"{array.pointer} + {strided(array.view, [(1, 'line'), (2, f'{column} + {further}')])}"
