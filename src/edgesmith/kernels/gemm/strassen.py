"""Matrix product with constant weights by Strassen's algorithm in Winograd's form: 7 products of halves instead of 8.

V. Strassen, "Gaussian elimination is not optimal", Numerische Mathematik 13, 1969; the form with 15 additions is
S. Winograd's (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 23.1).

With X and W cut into halves both ways:

    S1 = X21 + X22       S2 = S1 - X11          S3 = X11 - X21      S4 = X12 - S2
    T1 = W12 - W11       T2 = W22 - T1          T3 = W22 - W12      T4 = W21 - T2
    V = X11 W11          Y11 = V + X12 W21
    V = V + S2 T2        U = V + S3 T3          Y21 = U + X22 T4
    P = S1 T1            Y22 = U + P            V = V + P           Y12 = V + S4 W22

One product after the other runs through a panel of weights; what they add to each other waits in V and U, which are as
wide as a panel and stay in the first-level cache. The sums T are made once, by ``prepare``; the sums S by each task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES, memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.blocking import Blocking, Extents, good_tiles
from edgesmith.kernels.gemm.product import Product, split_product
from edgesmith.kernels.gemm.row_tiles import RowTiles, lines_ahead
from edgesmith.kernels.gemm.strassen_rounding import rounding_bound
from edgesmith.kernels.lane_loop import LaneLoop
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, Segment, TileShape, accumulate, pack, pack_bias
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

STEP_NS = 100.0
SMALLEST = 64
"""Reduction steps and output channels from which on it may pay."""
HALVES = (24, 48, 96)
"""Rows of half a block worth trying."""
LEAST_TASKS = 4
SUM_CYCLES = 9.0
"""Of making one vector of each of the sums S."""
BUFFER_CYCLES = 18.0
"""Of reading and writing one vector of V and U in all products."""
SHORT_PRODUCTS = 1.12
"""What seven products of half the size take over the prediction for long ones, measured; nothing in loops by lane."""
FAR_SHARE = 0.4
"""Part of the time for weights from memory that does not hide behind arithmetic."""


@dataclass(frozen=True)
class Pass:
    """One of the seven products, and what becomes of it.

    Args:
        kind: ``start``: V = product; ``add``: the buffer ``writes`` = V + product; ``finish``: a result = the buffer
            ``reads`` + product; ``both``: a result = U + product, and V = V + product.
        x: what it reads, a part of X or one of the sums.
        weights: its panels.
        result: C name of the rows, and half of the channels of the result.
    """

    kind: str
    x: str
    weights: str
    reads: str = "v"
    writes: str = "v"
    result: tuple[str, int] | None = None

    @property
    def of_sums(self) -> bool:
        return self.x.startswith("s")


PASSES = (
    Pass("start", "x11", "w11"),
    Pass("finish", "x12", "w21", result=("top", 0)),
    Pass("add", "s2", "t2"),
    Pass("add", "s3", "t3", writes="u"),
    Pass("finish", "x22", "t4", reads="u", result=("bottom", 0)),
    Pass("both", "s1", "t1", reads="u", result=("bottom", 1)),
    Pass("finish", "s4", "w22", result=("top", 1)),
)


@kernel
class StrassenGemm(Kernel):
    """Large products whose halves need no partial vectors; an odd row is computed in both halves of its block."""

    name: ClassVar[str] = "strassen"
    always_prepares: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        product = split_product(problem)
        if product.reject:
            return Reject(product.reject)
        pair = 2 * problem.target.lanes
        if product.slices or not product.even:
            return Reject("rows are not evenly spaced in memory")
        if product.x.strides[1] != 1:
            return Reject(f"input channels have stride {product.x.strides[1]}, vectors need 1")
        if min(product.steps, product.channels) < SMALLEST or product.rows < SMALLEST // 4:
            return Reject(f"{product.rows} rows, {product.steps} steps, {product.channels} channels are too few to pay")
        if product.steps % 2:
            return Reject(f"{product.steps} steps have no halves")
        if product.channels % pair:
            return Reject(f"{product.channels} channels are no multiple of {pair}")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        product = split_product(problem)
        counts = sorted({max(1, round(product.rows / (2 * half))) for half in HALVES})
        found: list[Schedule] = []
        for count in counts:
            e = _extents(product, count)
            found += [{"rows": t.rows, "vectors": t.vectors, "blocks": count} for t in good_tiles(e)[:2]]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        code = StrassenCode(split_product(problem), schedule)
        weights = memory_ns(7 / 4 * code.p.weights.nbytes, problem.target)
        loop = LaneLoop.of(problem.target, code.tile.rows, [code.tile.vectors], code.steps)
        slowdown = 1.0 if loop else SHORT_PRODUCTS
        return STEP_NS + slowdown * code.cycles() / problem.target.gigahertz + FAR_SHARE * weights

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return StrassenCode(split_product(problem), schedule).code()

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        return rounding_bound(node, operands, schedule["blocks"])


def _extents(product: Product, blocks: int) -> Extents:
    """Of one of the seven products of a block."""
    half = -(-RowTiles.of(product.rows, -(-product.rows // blocks)).height // 2)
    return Extents(
        product.problem.target, half, product.channels // 2, product.steps // 2, product.x.strides[0], 1, slices=1
    )


class StrassenCode:
    """Writes one product."""

    def __init__(self, product: Product, schedule: Schedule) -> None:
        self.p = product
        self.lanes = product.problem.target.lanes
        self.blocks = RowTiles.of(product.rows, -(-product.rows // schedule["blocks"]))
        self.tile = TileShape(schedule["rows"], schedule["vectors"])
        self.e = _extents(product, schedule["blocks"])
        self.rows = RowTiles.of(self.e.rows, self.tile.rows)
        self.steps, self.channels = self.e.steps, self.e.channels
        self.panels = Panels(self.channels, self.lanes, self.tile.vectors)
        self.groups = min(self.panels.count, -(-LEAST_TASKS // self.blocks.count))
        self.epilogue = product.epilogue
        line = LINE_BYTES // FLOAT_BYTES
        self.sum_stride = (-(-self.steps // line) | 1) * line

    def cycles(self) -> float:
        blocking = Blocking(self.tile, self.steps, self.rows.count, self.panels.count, packed=False)
        products = 7 * blocking.cycles(self.e)
        sums = self.groups * self.e.rows * self.steps / self.lanes * SUM_CYCLES
        buffers = self.e.rows * self.channels / self.lanes * BUFFER_CYCLES
        return self.blocks.count * (products + sums + buffers)

    @property
    def _weight_floats(self) -> int:
        """Of one quarter of the weights."""
        return self.steps * self.channels

    @property
    def _buffer_floats(self) -> int:
        return self.rows.count * self.rows.height * self.tile.vectors * self.lanes

    def code(self) -> Code:
        p = self.p
        halves = [slice(0, self.channels), slice(self.channels, None)]
        parts = [slice(0, self.steps), slice(self.steps, None)]
        constants = [
            (f"w{k + 1}{n + 1}", pack(np.ascontiguousarray(p.weights[halves[n], parts[k]]), self.panels))
            for k, n in ((0, 0), (1, 0), (1, 1), (0, 1))
        ]
        constants += [("bias", pack_bias(p.bias, Panels(p.channels, self.lanes, 1))), *self.epilogue.constants]
        w = Writer()
        self._prepare(w, len(constants))
        self._sums(w)
        functions: dict[str, None] = {}
        for step in PASSES:
            for variant in range(len(self.panels.variants())):
                for rows, _ in self.rows.heights:
                    name = self._function(step, variant, rows)
                    if name not in functions:
                        self._tile(w, step, name, rows, *self.panels.variants()[variant])
                        functions[name] = None
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants, "prepared"))
            w.line("(void)w12;")
            self._tasks(w)
        op = p.problem.anchor.op.name.lower()
        return Code(
            w.text(),
            f"{op}_strassen_f32{self.epilogue.label}_{self.tile.rows}x{self.tile.vectors}",
            tuple(a for _, a in constants),
            self.blocks.count * self.groups,
            (4 * self.e.rows * self.sum_stride + 2 * self._buffer_floats) * FLOAT_BYTES,
            functions=self.epilogue.functions,
            prepared_bytes=4 * self._weight_floats * FLOAT_BYTES,
        )

    def _prepare(self, w: Writer, constants: int) -> None:
        """Write the function that makes the sums of the weights."""
        first = len(self.p.problem.region.inputs) + 1
        with w.block(PREPARE_SIGNATURE):
            for i, name in enumerate(("w11", "w21", "w22", "w12")):
                w.line(f"const float *const {name} = (const float *)p[{first + i}];")
            w.line(f"float *const t = (float *)p[{first + constants}];")
            with w.block(f"for (ptrdiff_t i = 0; i < {self._weight_floats}; i += {self.lanes})"):
                w.line("const es_v t1 = es_load(w12 + i) - es_load(w11 + i);")
                w.line("const es_v t2 = es_load(w22 + i) - t1;")
                sums = ("t1", "t2", "es_load(w22 + i) - es_load(w12 + i)", "es_load(w21 + i) - t2")
                for i, value in enumerate(sums):
                    w.line(f"es_store(t + {i * self._weight_floats} + i, {value});")
        w.line()

    def _sums(self, w: Writer) -> None:
        """Write the function that makes the sums of a block's rows."""
        stride, size = self.p.x.strides[0], self.e.rows * self.sum_stride
        with (
            w.block("static void @NAME@_sums(const float *x1, const float *x2, float *s)"),
            w.block(f"for (int32_t row = 0; row < {self.e.rows}; ++row, x1 += {stride}, x2 += {stride})"),
            w.block(f"for (int32_t i = 0; i < {self.steps}; i += {self.lanes})"),
        ):
            # The last vector ends with the row, over part of the one before.
            last = self.steps - self.lanes
            w.line(
                "const int32_t k = i;"
                if self.steps % self.lanes == 0
                else f"const int32_t k = i < {last} ? i : {last};"
            )
            w.line("const es_v x11 = es_load(x1 + k), x21 = es_load(x2 + k);")
            w.line(f"const es_v s1 = x21 + es_load(x2 + {self.steps} + k);")
            w.line("const es_v s2 = s1 - x11;")
            w.line(f"float *const to = s + row * {self.sum_stride} + k;")
            for i, value in enumerate(("s1", "s2", "x11 - x21", f"es_load(x1 + {self.steps} + k) - s2")):
                w.line(f"es_store(to + {i * size}, {value});")
        w.line()

    @staticmethod
    def _function(step: Pass, variant: int, rows: int) -> str:
        return f"@NAME@_{step.kind}{'_sums' if step.of_sums else ''}_{variant}_{rows}"

    def _tile(self, w: Writer, step: Pass, name: str, rows: int, vectors: int, tail: int | None) -> None:
        parameters = ["const float *x", "const float *w"]
        parameters += [] if step.kind == "start" else ["const float *from"]
        parameters += [] if step.kind == "finish" else ["float *to"]
        parameters += ["const float *b", "float *y" + self.epilogue.parameters] if step.result else []
        sums = [(r, v, (r * vectors + v) * self.lanes) for r in range(rows) for v in range(vectors)]
        with w.block(f"static void {name}({', '.join(parameters)}, const float *ahead)"):
            for r, v, at in sums:
                loads = step.kind in ("add", "finish")
                w.line(f"es_v c{r}_{v} = {f'es_load(from + {at})' if loads else '{0}'};")
            stride = self.sum_stride if step.of_sums else self.p.x.strides[0]
            lines = lines_ahead(rows, vectors, self.lanes, self.rows.count)
            segment = Segment(self.steps, "0", 1, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * stride, vectors, self.p.problem.target, lines)
            w.line("(void)ahead;")
            for r, v, at in sums:
                value = f"c{r}_{v}"
                if step.kind == "both":
                    w.line(f"es_store(to + {at}, es_load(to + {at}) + {value});")
                    w.line(f"{value} = es_load(from + {at}) + {value};")
                elif step.kind != "finish":
                    w.line(f"es_store(to + {at}, {value});")
                if step.result:
                    w.line(f"{value} = {value} + es_load(b + {v * self.lanes});")
            if step.result:
                self.epilogue.store(w, self.p.y, range(rows), vectors, tail, row_axis=0)
        w.line()

    def _tasks(self, w: Writer) -> None:
        p, size = self.p, self.e.rows * self.sum_stride
        x_stride = p.x.strides[0]
        w.line("float *const s = (float *)scratch;")
        w.line(f"float *const v = s + {4 * size};")
        w.line(f"float *const u = v + {self._buffer_floats};")
        for i in range(4):
            w.line(f"const float *const t{i + 1} = prepared + {i * self._weight_floats};")
            w.line(f"const float *const s{i + 1} = s + {i * size};")
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("block", self.blocks.count), ("group", self.groups)])
            w.line("const int32_t next = block + 1;")
            w.line(f"const int32_t top = {self.blocks.first_row('block')};")
            w.line(f"const int32_t bottom = {self.blocks.first_row('next')} - {self.e.rows};")
            w.line(f"const float *const x11 = x0 + (ptrdiff_t)top * {x_stride};")
            w.line(f"const float *const x12 = x11 + {self.steps};")
            w.line(f"const float *const x21 = x0 + (ptrdiff_t)bottom * {x_stride};")
            w.line(f"const float *const x22 = x21 + {self.steps};")
            w.line("@NAME@_sums(x11, x21, s);")
            each = -(-self.panels.count // self.groups)
            stop = f"(group + 1) * {each}"
            w.line(f"const int32_t last = {stop} < {self.panels.count} ? {stop} : {self.panels.count};")
            with w.block(f"for (int32_t panel = group * {each}; panel < last; ++panel)"):
                w.line(f"const ptrdiff_t at = (ptrdiff_t)panel * {self.steps * self.tile.vectors * self.lanes};")
                self.panels.write_variants(w, "panel", lambda variant: self._products(w, variant))

    def _products(self, w: Writer, variant: int) -> None:
        width, lanes = self.tile.vectors * self.lanes, self.panels.variants()[variant][0] * self.lanes
        for i, step in enumerate(PASSES):
            following = PASSES[i + 1].weights if i + 1 < len(PASSES) else PASSES[0].weights
            buffer = f"tile * {self.rows.height * width}"
            x_stride = self.sum_stride if step.of_sums else self.p.x.strides[0]
            arguments = [f"{step.x} + (ptrdiff_t)row * {x_stride}", f"{step.weights} + at"]
            arguments += [] if step.kind == "start" else [f"{step.reads} + {buffer}"]
            arguments += [] if step.kind == "finish" else [f"{step.writes} + {buffer}"]
            if step.result:
                half, column = step.result
                channel = f"panel * {width} + {column * self.channels}"
                position = [(0, f"{half} + row"), (1, channel)]
                arguments += [f"bias + {channel}", f"y0 + {strided(self.p.y, position)}"]
                arguments[-1] += self.epilogue.arguments(position)

            def call(height: int, step: Pass = step, arguments: list[str] = arguments) -> str:
                return f"{self._function(step, variant, height)}({', '.join(arguments)}, ahead);"

            with w.block(""):
                w.line(f"const float *ahead = {following} + at;")
                self.rows.write(w, "0", str(self.rows.count), self.steps * lanes // self.rows.count, call)
