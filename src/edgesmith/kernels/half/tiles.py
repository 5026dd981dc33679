"""Register tiles of sums in fp16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.half.chunks import STEPS, rounding_of_chunks
from edgesmith.kernels.half.epilogue import HalfEpilogue
from edgesmith.kernels.half.tiling import HALF_BYTES, HalfSums, blockings
from edgesmith.kernels.half.window import half_window
from edgesmith.kernels.integer.line_tiles import LineBlocking
from edgesmith.kernels.packed_lines import PackedLines, pack_weights
from edgesmith.kernels.region import Region, widening_chains
from edgesmith.ops import Array
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul


@kernel
class HalfTilesKernel(Kernel):
    """Sums of products of fp16 in register tiles of pixels by channels, widened to f32 from time to time (``chunks``).

    Windows of several pixels read input lines that are first copied side by side, with the padding in place, so that
    the products of a kernel line are one run of neighbouring elements.
    """

    name: ClassVar[str] = "half-tiles"
    widens: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from widening_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        window = half_window(problem)
        if window.reject is not None:
            return Reject(window.reject)
        return Reject(f"{window.group} groups") if window.group != 1 else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [b.schedule for b in blockings(HalfSums(half_window(problem)))]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return HalfSums(half_window(problem)).nanoseconds(LineBlocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        window = half_window(problem)
        return tuple(v for v in window.epilogue.in_place(problem) if v != window.input)

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        return rounding_of_chunks(node, operands)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(HalfSums(half_window(problem)), LineBlocking.of(schedule)).code()


class _Emitter:
    """Writes the copying, the tiles and the loops."""

    def __init__(self, sums: HalfSums, blocking: LineBlocking) -> None:
        self.s, self.b, self.w = sums, blocking, sums.window
        self.tiles = sums.tiles(blocking)
        self.floats, self.lanes = sums.target.lanes, sums.lanes

    def code(self) -> Code:
        epilogue, panels = self.w.epilogue, self.tiles.panels
        weights = pack_weights(self.s, self.s.run, panels).astype(np.float16)
        constants = [("weights", weights), ("bias", self._bias()), *epilogue.constants]
        w = Writer()
        if not self.s.in_place:
            PackedLines(self.w, DType.F16, 0, self.tiles.columns).write(w)
        for variant, (vectors, _) in enumerate(panels.variants()):
            for rows, _ in self.tiles.rows.heights:
                self._tile(w, variant, rows, vectors)
                w.line()
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            if self.s.in_place:
                w.line("(void)scratch;")
            self.tiles.write_loops(w, self._start, self.s.steps * panels.vectors * self.lanes)
        kernel_size = "x".join(map(str, self.w.kernel))
        operator = self.w.problem.anchor.op.name.lower()
        return Code(
            w.text(),
            f"{operator}{kernel_size}_half{epilogue.label}_{self.b.rows}x{self.b.vectors}",
            tuple(a for _, a in constants),
            prod(self.tiles.tasks),
            self.tiles.scratch_elements * HALF_BYTES,
            functions=epilogue.functions,
        )

    @property
    def _start(self) -> str:
        """C type of what sums start with: fp16 where there is one chunk, else f32."""
        return "uint16_t" if self.s.chunks.single else "float"

    def _bias(self) -> np.ndarray:
        channels = self.w.channels
        padded = np.zeros(-(-channels // self.lanes) * self.lanes, np.float32)
        if self.w.bias is not None:
            padded[:channels] = self.w.bias.reshape(-1)
        return padded.astype(np.float16) if self.s.chunks.single else padded

    def _tile(self, w: Writer, variant: int, rows: int, vectors: int) -> None:
        """Write the function of one register tile."""
        epilogue, y, channels = self.w.epilogue, self.w.y, self.w.channels
        parameters = (
            f"const uint16_t *x, const uint16_t *w, const {self._start} *b, {y.dtype.c} *y{epilogue.parameters}"
        )
        whole = variant == 0 and self.tiles.panels.full
        left = channels - self.tiles.panels.full * self.tiles.panels.vectors * self.lanes
        stored = 2 * vectors if whole else -(-left // self.floats)
        tail = None if whole else left % self.floats or None
        in_halves = HalfEpilogue(epilogue, self.s.chunks.single)
        whole = whole or left % self.lanes == 0
        with w.block(f"static void {self.tiles.function(variant, rows)}({parameters})"):
            if self.s.chunks.single:
                for v in range(vectors):
                    w.line(f"const es_m bias{v} = es_pairs_i16((const int16_t *)b + {v * self.lanes});")
                self._sums(w, rows, vectors, [f"bias{v}" for v in range(vectors)])
                self._lines(w, rows, vectors, self.w.kernel[0])
                if whole and in_halves.possible:
                    for r in range(rows):
                        for v in range(vectors):
                            in_halves.store(w, f"h{r}_{v}", partial(self._address, r, v), Array("y", y))
                    return
                for r in range(rows):
                    for v in range(stored):
                        w.line(f"const es_v c{r}_{v} = es_{('low', 'high')[v % 2]}_f16(h{r}_{v // 2});")
                epilogue.store(w, y, range(rows), stored, tail, row_axis=2)
            else:
                self._chunks(w, rows, vectors)
                if whole and in_halves.possible:
                    for r in range(rows):
                        for v in range(vectors):
                            at = 2 * (r * vectors + v)
                            h = f"es_join_f16(sums[{at}], sums[{at + 1}])"
                            in_halves.store(w, h, partial(self._address, r, v), Array("y", y))
                    return
                sums = [f"sums[row * {2 * vectors} + {v}]" for v in range(stored)]
                epilogue.store_rows(w, y, sums, str(rows), tail, row_axis=2)

    def _address(self, row: int, vector: int, array: Array) -> str:
        """C text of an operand's address for a row and a vector of a tile."""
        view = array.view
        shift = row * view.strides[2] + (vector * self.lanes if view.strides[3] == 1 else 0)
        return f"{array.pointer} + {shift}" if shift else array.pointer

    def _chunks(self, w: Writer, rows: int, vectors: int) -> None:
        """Write the sums of all chunks, in f32 in ``sums``."""
        chunks = self.s.chunks
        w.line(f"es_v sums[{2 * rows * vectors}];")
        for v in range(2 * vectors):
            w.line(f"const es_v bias{v} = es_load(b + {v * self.floats});")
        for r in range(rows):
            for v in range(2 * vectors):
                w.line(f"sums[{r * 2 * vectors + v}] = bias{v};")
        if chunks.together:
            count, rest = divmod(chunks.lines, chunks.together)
            step = chunks.together * self.tiles.step[0]
            with w.block(f"for (ptrdiff_t chunk = 0; chunk < {count}; ++chunk, x += {step})"):
                self._chunk(w, rows, vectors, lambda: self._lines(w, rows, vectors, chunks.together))
            if rest:
                self._chunk(w, rows, vectors, lambda: self._lines(w, rows, vectors, rest))
            return
        with ExitStack() as stack:
            xk = self._runs(w, stack, chunks.lines)
            w.line(f"const uint16_t *xk = {xk};")
            count, rest = divmod(chunks.run, chunks.part)
            with w.block(f"for (ptrdiff_t chunk = 0; chunk < {count}; ++chunk)"):
                self._chunk(w, rows, vectors, lambda: self._products(w, rows, vectors, chunks.part))
            if rest:
                self._chunk(w, rows, vectors, lambda: self._products(w, rows, vectors, rest))

    def _chunk(self, w: Writer, rows: int, vectors: int, body: Callable[[], None]) -> None:
        """Write one chunk, which ``body`` writes the products of."""
        with w.block(""):
            self._sums(w, rows, vectors, ["zero"] * vectors)
            body()
            for r in range(rows):
                for v in range(vectors):
                    at = 2 * (r * vectors + v)
                    w.line(f"sums[{at}] += es_low_f16(h{r}_{v});")
                    w.line(f"sums[{at + 1}] += es_high_f16(h{r}_{v});")

    def _sums(self, w: Writer, rows: int, vectors: int, start: Sequence[str]) -> None:
        """Write the declarations of the sums in fp16."""
        if "zero" in start:
            w.line("const es_m zero = {0};")
        for r in range(rows):
            w.line("es_m " + ", ".join(f"h{r}_{v} = {start[v]}" for v in range(vectors)) + ";")

    def _runs(self, w: Writer, stack: ExitStack, lines: int) -> str:
        """Write the loops over kernel lines and their runs; gives the C text of the first element of a run."""
        start = "x"
        for name, count, step in (
            ("i", lines, self.tiles.step[0]),
            ("j", self.s.runs, self.w.dilations[1] * self.s.depth),
        ):
            if count > 1:
                stack.enter_context(w.block(f"for (ptrdiff_t {name} = 0; {name} < {count}; ++{name})"))
                start += f" + {name} * {step}"
        if start == "x":
            stack.enter_context(w.block(""))
        return start

    def _lines(self, w: Writer, rows: int, vectors: int, lines: int) -> None:
        """Write the products of some kernel lines from ``x`` on."""
        with ExitStack() as stack:
            start = self._runs(w, stack, lines)
            w.line(f"const uint16_t *xk = {start};")
            self._products(w, rows, vectors, self.s.run)

    def _products(self, w: Writer, rows: int, vectors: int, count: int) -> None:
        """Write the products of neighbouring elements; advances the pointers ``xk`` and ``w``."""
        rounds, rest = divmod(count, STEPS)
        pixel, width = self.tiles.step[1], vectors * self.lanes
        if rounds:
            with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)" if rounds > 1 else ""):
                for r in range(rows):
                    w.line(f"const es_m a{r} = es_pairs_i16((const int16_t *)xk + {r * pixel});")
                for u in range(STEPS):
                    self._step(w, rows, vectors, u, f"es_mla_f16_lane({{0}}, {{1}}, {{2}}, {u})")
                w.line(f"xk += {STEPS};")
                w.line(f"w += {STEPS * width};")
        if rest:
            for u in range(rest):
                with w.block(""):
                    for r in range(rows):
                        w.line(f"const es_m a{r} = es_pair_f16(xk + {u + r * pixel});")
                    self._step(w, rows, vectors, u, "es_mla_f16({0}, {1}, {2})")
            w.line(f"xk += {rest};")
            w.line(f"w += {rest * width};")

    def _step(self, w: Writer, rows: int, vectors: int, u: int, add: str) -> None:
        """Write the products of one element of each row, which ``a<row>`` holds."""
        with w.block(""):
            for v in range(vectors):
                at = (u * vectors + v) * self.lanes
                w.line(f"const es_m b{v} = es_pairs_i16((const int16_t *)w + {at});")
                for r in range(rows):
                    w.line(f"h{r}_{v} = {add.format(f'h{r}_{v}', f'a{r}', f'b{v}')};")
