"""Matrix product of few rows with constant weights: fully connected layers, bound by the weights' way from memory.

Each weight is used once for every row, so that nothing but the rate matters at which weights arrive. A processor has
more lines on their way where several streams of addresses run side by side: the reduction is cut into ``streams`` runs
of equal length, which advance together and have sums of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import FMA_LATENCY, FMA_PER_CYCLE, GIGAHERTZ, LOADS_PER_CYCLE, memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.product import Product, split_product
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, pack, pack_bias
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

STEP_NS = 60.0
STREAMS = (2, 3, 4, 6)
PANEL_CYCLES = 30.0


@kernel
class Gemv(Kernel):
    """All rows at once, one panel of output channels after the other."""

    name: ClassVar[str] = "gemv"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        product = split_product(problem)
        if product.reject:
            return Reject(product.reject)
        if product.slices or not product.even:
            return Reject("rows are not evenly spaced in memory")
        most = (problem.target.registers - 3) // STREAMS[0]
        if product.rows > most:
            return Reject(f"{product.rows} rows, sums of {most} fit the registers")
        if product.steps < STREAMS[-1]:
            return Reject(f"{product.steps} steps are no streams")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        product, target = split_product(problem), problem.target
        found = []
        for streams in STREAMS:
            most = min((target.registers - 3) // (streams * product.rows), -(-product.channels // target.lanes))
            found += [{"vectors": v, "streams": streams} for v in dict.fromkeys((most, -(-most // 2))) if v]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        p = split_product(problem)
        vectors, streams = schedule["vectors"], schedule["streams"]
        panels = Panels(p.channels, problem.target.lanes, vectors)
        cycles = 0.0
        for (width, _), count in panels.counted():
            products = p.rows * width * streams
            loads = (width + p.rows) * streams
            step = max(products / FMA_PER_CYCLE, loads / LOADS_PER_CYCLE, FMA_LATENCY)
            cycles += count * (p.steps / streams * step + PANEL_CYCLES)
        compute, memory = cycles / GIGAHERTZ, memory_ns(p.weights.nbytes, streams)
        return STEP_NS + max(compute, memory) + 0.2 * min(compute, memory)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return split_product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(split_product(problem), schedule).code()


class _Emitter:
    def __init__(self, product: Product, schedule: Schedule) -> None:
        self.p = product
        self.streams = schedule["streams"]
        self.lanes = product.problem.target.lanes
        self.panels = Panels(product.channels, self.lanes, schedule["vectors"])
        self.epilogue = product.epilogue
        self.step_stride = product.x.strides[1] if product.steps > 1 else 1

    def code(self) -> Code:
        p, panels = self.p, self.panels
        constants = [("weights", pack(p.weights, panels)), ("bias", pack_bias(p.bias, panels))]
        constants += self.epilogue.constants
        width = panels.vectors * self.lanes
        w = Writer()
        for number, (vectors, tail) in enumerate(panels.variants()):
            self._panel(w, number, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("(void)scratch;")
            position = [(1, f"panel * {width}")]
            arguments = f"x0, weights + (ptrdiff_t)panel * {p.steps * width}, bias + panel * {width}"
            arguments += f", y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}"
            with w.block("for (int32_t panel = begin; panel < end; ++panel)"):
                panels.write_variants(w, "panel", lambda variant: w.line(f"@NAME@_{variant}({arguments});"))
        op = p.problem.anchor.op.name.lower()
        label = f"{op}_gemv_f32{self.epilogue.label}_{p.rows}x{panels.vectors}x{self.streams}"
        return Code(w.text(), label, tuple(a for _, a in constants), panels.count, functions=self.epilogue.functions)

    def _panel(self, w: Writer, number: int, vectors: int, tail: int | None) -> None:
        """Write the function of a panel of output channels."""
        p, streams = self.p, range(self.streams)
        sums = [(r, v) for r in range(p.rows) for v in range(vectors)]
        length, rest = divmod(p.steps, self.streams)
        parameters = f"const float *x, const float *w, const float *b, float *y{self.epilogue.parameters}"
        with w.block(f"static void @NAME@_{number}({parameters})"):
            for j in streams:
                w.line("es_v " + ", ".join(f"s{j}_{r}_{v} = {{0}}" for r, v in sums) + ";")
            with w.block(f"for (ptrdiff_t k = 0; k < {length}; ++k)"):
                for j in streams:
                    self._step(w, j, f"k + {j * length}" if j else "k", vectors)
            for i in range(rest):
                self._step(w, i, str(p.steps - rest + i), vectors)
            for r, v in sums:
                w.line(f"es_v c{r}_{v} = es_load(b + {v * self.lanes});")
                for j in streams:
                    w.line(f"c{r}_{v} = c{r}_{v} + s{j}_{r}_{v};")
            self.epilogue.store(w, p.y, range(p.rows), vectors, tail, row_axis=0)
        w.line()

    def _step(self, w: Writer, stream: int, step: str, vectors: int) -> None:
        """Write the multiply-adds of one step of a stream."""
        p = self.p
        at = step if step.isdigit() or step == "k" else f"({step})"
        with w.block(""):
            for r in range(p.rows):
                w.line(f"const es_v a{r} = es_set1(x[{at} * {self.step_stride} + {r * p.x.strides[0]}]);")
            for v in range(vectors):
                w.line(f"const es_v b{v} = es_load(w + {at} * {vectors * self.lanes} + {v * self.lanes});")
                for r in range(p.rows):
                    w.line(f"s{stream}_{r}_{v} = es_fma(a{r}, b{v}, s{stream}_{r}_{v});")
