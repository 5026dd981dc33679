"""Sums of products in tile registers over packed input lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.tiles import MAX_ROW_BYTES, MAX_ROWS
from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, Kernel, Problem, Reject, Schedule, unpack
from edgesmith.kernels.cycles import cycles_of, memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import write_range
from edgesmith.kernels.lanes import load
from edgesmith.kernels.line_window import LineWindow
from edgesmith.kernels.packed_lines import LineSums, PackedLines, pack_weights
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels
from edgesmith.kernels.tile_products import Reduction, TileDot, TileProducts
from edgesmith.ops import Operator

__all__ = ["Blocking", "TileKernel", "TileSums"]

STEP_NS = 150.0
"""Of one call: configuring and releasing the tiles included."""
SHAPES_KEPT = 4
TARGET_TASKS, LEAST_TASKS = 16, 4
PACK_BYTES_PER_CYCLE = 16.0
ROW_CYCLES = 2.0
FLAG_BYTES = 64


class TileKernel(Kernel):
    """Sums of products in tile registers, 16 pixels by 16 channels each.

    The input lines of a task are first copied side by side, with the padding in place. Where the pixels of several
    lines are evenly spaced there, they can be one row of pixels: those between two lines are computed and dropped.

    Where the system denies tiles to the process, vectors compute the sums from the same lines and weights.
    """

    always_prepares: ClassVar[bool] = True
    operators: ClassVar[tuple[type[Operator], ...]]
    """What it computes."""
    dot: ClassVar[TileDot]
    """How it multiplies."""

    @abstractmethod
    def window(self, problem: Problem) -> LineWindow:
        """The sums of a problem whose anchor is one of the operators."""

    @abstractmethod
    def sums(self, problem: Problem) -> TileSums:
        """What an accepted problem sums."""

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, self.operators):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if not problem.target.has(f"tile_{self.dot.name}"):
            return Reject(f"the target multiplies no tiles of {self.dot.element}")
        window = self.window(problem)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != 1:
            return Reject(f"{window.group} groups")
        run = LineSums(window, self.dot.group).run
        if self.dot.exact_runs and run % self.dot.group:
            return Reject(f"{run} neighbouring products, needs a multiple of {self.dot.group}")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [b.schedule for b in _blockings(self.sums(problem))]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return self.sums(problem).nanoseconds(Blocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return self.window(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(self.sums(problem), Blocking.of(schedule)).code()


@dataclass(frozen=True)
class Blocking:
    """How the loops are cut.

    Args:
        down, vectors: tiles of sums of a block, in pixels and in channels.
        lines, columns, panels: output lines, columns of a line and panels of weights of a task.
        joined: the lines of a task are one row of pixels.
    """

    down: int
    vectors: int
    lines: int
    columns: int
    panels: int
    joined: bool = False

    @classmethod
    def of(cls, s: Schedule) -> Blocking:
        return cls(s["down"], s["vectors"], s["lines"], s["columns"], s["panels"], bool(s["joined"]))

    @property
    def schedule(self) -> Schedule:
        return {
            "down": self.down,
            "vectors": self.vectors,
            "lines": self.lines,
            "columns": self.columns,
            "panels": self.panels,
            "joined": int(self.joined),
        }


class TileSums(LineSums):
    """What a kernel in tile registers sums, and its sizes under a blocking.

    A row is a run of evenly spaced pixels that blocks cut: what a task computes of a line, or all of its lines.

    Args:
        dot: how tiles multiply.
        start: what the sums start with, by channel, in whole vectors.
        shift: what is added to every input so that it fits the type that is multiplied.
    """

    def __init__(self, window: LineWindow, dot: TileDot, start: np.ndarray, shift: int = 0) -> None:
        super().__init__(window, dot.group)
        self.dot, self.start, self.shift = dot, start, shift

    @property
    def can_join(self) -> bool:
        return self.lines > 1

    def packed(self, b: Blocking) -> PackedLines:
        """The input lines of a task; for joined ones, a whole number of pixels apart."""
        columns, stride = self.input_columns(b.columns), self.window.strides[1]
        if b.joined:
            columns = -(-columns // stride) * stride
        return PackedLines(self.window, self.dot.element, self.shift, columns)

    def line_pixels(self, b: Blocking) -> int:
        """Pixels of a row from one line to the next."""
        if not b.joined:
            return b.columns
        return self.packed(b).columns // self.window.strides[1] * self.window.strides[0]

    def row_pixels(self, b: Blocking) -> int:
        """Pixels of a row of a whole task."""
        return (b.lines - 1) * self.line_pixels(b) + self.columns if b.joined else b.columns

    def products(self, b: Blocking) -> TileProducts:
        window, packed = self.window, self.packed(b)
        loops = (
            (window.kernel[0], window.dilations[0] * packed.line),
            (self.runs, window.dilations[1] * window.x.shape[3]),
        )
        pixels = self.row_pixels(b)
        tiles = -(-pixels // (b.down * MAX_ROWS)) * b.down
        reduction = Reduction.of(loops, self.groups, packed.pixel, self.dot.exact_runs)
        return TileProducts(b.down, b.vectors, -(-pixels // tiles), self.dot, reduction)

    def packed_bytes(self, b: Blocking) -> int:
        """Memory for the input lines of a task, and for what is read behind them and multiplied by 0 or dropped."""
        packed = self.packed(b)
        last = 0 if b.joined else (b.lines - 1) * self.window.strides[0] * packed.line
        read = last + self.products(b).input_elements(self.row_pixels(b))
        return max(self.input_lines(b.lines) * packed.line, read) * self.dot.element.itemsize

    def panels(self, b: Blocking) -> Panels:
        return Panels(self.window.channels, MAX_ROWS, b.vectors)

    def tasks(self, b: Blocking) -> tuple[int, int, int, int]:
        """Images, groups of panels, blocks of lines, parts of a line."""
        panels = -(-self.panels(b).count // b.panels)
        return self.window.y.shape[0], panels, -(-self.lines // b.lines), -(-self.columns // b.columns)

    def nanoseconds(self, b: Blocking) -> float:
        """Predicted time on one core."""
        window, products = self.window, self.products(b)
        steps, groups = products.reduction.all_steps, products.reduction.groups
        tasks = self.tasks(b)
        rows = prod(tasks[::2]) * tasks[3] if b.joined else tasks[0] * self.lines * tasks[3]
        blocks = rows * -(-self.row_pixels(b) // products.block)
        pixels = window.y.shape[0] * self.lines * self.columns
        epilogue = cycles_of(window.epilogue.expr, self.target) + 3.0
        cycles = 0.0
        for (vectors, _), count in self.panels(b).counted():
            panel_bytes = steps * groups * vectors * MAX_ROW_BYTES
            block = products.cycles(vectors)
            if panel_bytes > self.target.l1_bytes // 2:
                block = max(block, panel_bytes / self.target.core.l2_bytes_per_cycle)
            cycles += count * (blocks * block + pixels * (vectors * epilogue + ROW_CYCLES))
        cycles += prod(tasks) * (self.packed_bytes(b) / PACK_BYTES_PER_CYCLE + 40.0)
        weight_bytes = steps * groups * -(-window.channels // MAX_ROWS) * MAX_ROW_BYTES
        return max(STEP_NS + cycles / self.target.gigahertz, memory_ns(weight_bytes, self.target))


def _blockings(s: TileSums) -> Iterator[Blocking]:
    """The best shapes of blocks, each with tasks whose lines fit the first-level or the second-level cache."""
    vectors = -(-s.window.channels // MAX_ROWS)
    tiles = -(-s.lines * s.columns // MAX_ROWS)
    shapes = [
        Blocking(down, across, s.lines, s.columns, Panels(s.window.channels, MAX_ROWS, across).count, joined)
        for down in range(1, 7)
        for across in range(1, min(vectors, 6) + 1)
        for joined in ((False, True) if s.can_join else (False,))
        if TileProducts.fits(down, across) and down <= tiles
    ]
    best = sorted(shapes, key=lambda b: (s.nanoseconds(b), b.down * b.vectors, b.down, b.joined))
    for shape in best[:SHAPES_KEPT]:
        yield from dict.fromkeys(_cuts(s, shape))


def _cuts(s: TileSums, whole: Blocking) -> Iterator[Blocking]:
    """Many tasks, as long as each has a whole block; where that leaves too few, panels are shared out."""
    images, pixel_bytes = s.window.y.shape[0], s.window.x.shape[3] * s.dot.element.itemsize
    weight_bytes = s.window.weights.size * s.dot.weight.itemsize
    panels = whole.panels
    if weight_bytes > s.target.l2_bytes // 2:
        panels = -(-whole.panels * (s.target.l2_bytes // 2) // weight_bytes)
    block = whole.down * MAX_ROWS
    for room in (s.target.l1_bytes // 2, s.target.l2_bytes // 4):
        cut = whole
        if s.lines == 1:
            fits = max(1, room // max(pixel_bytes * block, 1))
            wanted = max(1, -(-s.columns * images // (block * TARGET_TASKS)))
            parts = -(-s.columns // (min(fits, wanted) * block))
            cut = replace(whole, columns=-(-s.columns // parts))
        else:
            line_bytes = s.packed(whole).line * s.dot.element.itemsize
            fits = (room // line_bytes - s.window.kernel[0]) // s.window.strides[0] + 1
            wanted = -(-s.lines * images // TARGET_TASKS)
            least = -(-block // s.columns) if whole.joined else 1
            parts = -(-s.lines // min(s.lines, max(least, min(fits, wanted))))
            lines = -(-s.lines // parts)
            cut = replace(whole, lines=lines, joined=whole.joined and lines > 1)
        shares = -(-LEAST_TASKS // (images * parts))
        yield replace(cut, panels=max(1, min(panels, -(-whole.panels // shares))))


class _Emitter:
    """Writes the copying, the products, what follows them, and the loops."""

    def __init__(self, sums: TileSums, blocking: Blocking) -> None:
        self.s, self.b, self.w, self.dot = sums, blocking, sums.window, sums.dot
        self.packed, self.products, self.panels = sums.packed(blocking), sums.products(blocking), sums.panels(blocking)

    def code(self) -> Code:
        epilogue, reduction = self.w.epilogue, self.products.reduction
        constants = [
            ("weights", pack_weights(self.s, reduction.run_groups, self.panels).astype(self.dot.weight.numpy)),
            ("bias", self.s.start),
            *epilogue.constants,
        ]
        flag = len(self.w.problem.region.inputs) + len(self.w.problem.region.outputs) + len(constants)
        w = Writer()
        with w.block(PREPARE_SIGNATURE):
            w.line(f"*(int32_t *)p[{flag}] = es_tiles_granted();")
        w.line()
        self.packed.write(w)
        self.products.write_shapes(w)
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            self.products.write_tiles(w, f"@NAME@_tiles_{variant}", vectors)
            self.products.write_vectors(w, f"@NAME@_vectors_{variant}", vectors)
            self._finish(w, variant, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            w.line(f"const int32_t has_tiles = *(const int32_t *)p[{flag}];")
            w.line(f"{self.dot.sum.c} sums[{self.products.sums}] __attribute__((aligned(64)));")
            w.line(f"{self.dot.element.c} *const packed = ({self.dot.element.c} *)scratch;")
            w.line("if (has_tiles) ES_TILES_CONFIGURE(@NAME@_shapes);")
            self._tasks(w)
            w.line("if (has_tiles) ES_TILES_RELEASE();")
        kernel_size = "x".join(map(str, self.w.kernel))
        operator = self.w.problem.anchor.op.name.lower()
        return Code(
            w.text(),
            f"{operator}{kernel_size}_amx_{self.w.x.dtype}{epilogue.label}_{self.b.down}x{self.b.vectors}",
            tuple(a for _, a in constants),
            prod(self.s.tasks(self.b)),
            self.s.packed_bytes(self.b),
            functions=epilogue.functions,
            prepared_bytes=FLAG_BYTES,
        )

    def _finish(self, w: Writer, variant: int, vectors: int, tail: int | None) -> None:
        """Write the function that adds the bias to the sums of some pixels of a line, and applies the epilogue."""
        y, epilogue, kind = self.w.y, self.w.epilogue, self.dot.sum.c
        parameters = f"const {kind} *sums, const int32_t count, const {kind} *b, {y.dtype.c} *y{epilogue.parameters}"
        with w.block(f"static void @NAME@_finish_{variant}({parameters})"):
            for v in range(vectors):
                w.line(f"const {self.dot.vector} bias{v} = {load(self.dot.sum, f'b + {v * MAX_ROWS}')};")
            at = f"sums + row * {self.products.pitch} + "
            found = [load(self.dot.sum, f"{at}{v * MAX_ROWS}") for v in range(vectors)]
            sums = [self.dot.plus.format(total, f"bias{v}") for v, total in enumerate(found)]
            epilogue.store_rows(w, y, sums, "count", tail, row_axis=2)
        w.line()

    def _tasks(self, w: Writer) -> None:
        b, s, window = self.b, self.s, self.w
        images, groups, line_blocks, parts = s.tasks(b)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("n", images), ("group", groups), ("block", line_blocks), ("part", parts)])
            write_range(w, "panel", "group", b.panels, self.panels.count)
            write_range(w, "line", "block", b.lines, s.lines)
            if b.joined:
                w.line("enum { first_column = 0 };")
            else:
                write_range(w, "column", "part", b.columns, s.columns)
            w.line(s.pack_call("first_column"))
            with w.block("for (int32_t panel = first_panel; panel < last_panel; ++panel)"):
                width = self.panels.vectors * MAX_ROWS
                reduction = self.products.reduction
                size = reduction.all_steps * reduction.groups * width * self.dot.group
                w.line(f"const {self.dot.weight.c} *const wp = weights + (ptrdiff_t)panel * {size};")
                w.line(f"const {self.dot.sum.c} *const bp = bias + panel * {width};")
                if b.joined:
                    w.line(f"const int32_t pixels = (last_line - first_line - 1) * {s.line_pixels(b)} + {s.columns};")
                    self._row(w, "packed", width)
                    return
                w.line("const int32_t pixels = last_column - first_column;")
                with w.block("for (int32_t line = first_line; line < last_line; ++line)"):
                    step = window.strides[0] * self.packed.line
                    w.line(
                        f"const {self.dot.element.c} *const start = packed + (ptrdiff_t)(line - first_line) * {step};"
                    )
                    self._row(w, "start", width)

    def _row(self, w: Writer, start: str, width: int) -> None:
        """Write the loop over the blocks of the ``pixels`` pixels whose input begins at the pointer ``start``."""
        block = self.products.block
        with w.block(f"for (int32_t first = 0; first < pixels; first += {block})"):
            w.line(f"const int32_t last = first + {block} < pixels ? first + {block} : pixels;")
            self.panels.write_variants(w, "panel", lambda variant: self._block(w, variant, start, width))

    def _block(self, w: Writer, variant: int, start: str, width: int) -> None:
        arguments = f"({start} + (ptrdiff_t)first * {self.packed.pixel}, wp, sums);"
        with w.block("if (has_tiles)"):
            w.line(f"@NAME@_tiles_{variant}{arguments}")
        with w.block("else"):
            w.line(f"@NAME@_vectors_{variant}{arguments}")

        def finish(sums: str, count: str, column: str) -> None:
            position = [(0, "n"), (1, "line"), (2, column), (3, f"panel * {width}")]
            y = f"y0 + {strided(self.w.y, position)}{self.w.epilogue.arguments(position)}"
            w.line(f"@NAME@_finish_{variant}({sums}, {count}, bp, {y});")

        if not self.b.joined:
            finish("sums", "last - first", "first_column + first")
            return
        line_pixels = self.s.line_pixels(self.b)
        with w.block("for (int32_t at = first, next; at < last; at = next)"):
            w.line(f"const int32_t line = first_line + at / {line_pixels}, column = at % {line_pixels};")
            w.line(f"next = at - column + {line_pixels} < last ? at - column + {line_pixels} : last;")
            w.line(
                f"const int32_t stop = at - column + {self.s.columns} < next ? at - column + {self.s.columns} : next;"
            )
            with w.block("if (stop > at)"):
                finish(f"sums + (at - first) * {self.products.pitch}", "stop - at", "column")
