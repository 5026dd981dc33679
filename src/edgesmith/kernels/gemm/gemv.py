"""Matrix product of few rows with constant weights: fully connected layers, bound by the weights' way from memory.

Each weight is used once for every row, so that nothing but the rate matters at which weights arrive. A processor has
more lines on their way where several streams of addresses run side by side, and the longer the streams, the less often
it must find them anew. So the channels are cut into ``regions`` that advance together, each a stream through all its
panels. Where channels are too few, the reduction is cut as well: into ``streams`` runs of equal length, which have sums
of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.product import Product, split_product
from edgesmith.kernels.lane_loop import LaneLoop
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, pack, pack_bias
from edgesmith.ops import Array
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

STEP_NS = 60.0
STREAM_NS = 300.0
"""Until streams that begin elsewhere run at full rate."""
STREAMS = (2, 3, 4, 6)
REGIONS = (4, 3, 6, 8)
LEAST_TASKS = 4
"""Left for threads to share, as far as there are channels."""
LEAST_SUMS = 8
"""Sums side by side, that is vectors of weights requested at once, and additions that do not wait for one another."""
PANEL_CYCLES = 30.0


@kernel
class Gemv(Kernel):
    """All rows at once, one panel of output channels after the other, or several from different regions at once.

    Schedule:
        vectors: of a panel.
        streams: runs of the reduction.
        regions: runs of the channels (none given: 1).
    """

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
        most = (target.registers - 3) // product.rows
        needed = -(-product.channels // target.lanes)
        found: list[Schedule] = []
        for regions in REGIONS:
            for vectors in (3, 2, 1):
                if vectors > 1 and regions * vectors * LEAST_TASKS > needed:
                    continue
                streams = max(LEAST_SUMS // (regions * vectors * product.rows), 1)
                if regions * vectors <= needed and regions * vectors * streams <= most:
                    found.append({"vectors": vectors, "streams": streams, "regions": regions})
        for streams in STREAMS:
            vectors = min(most // streams, needed)
            found += [{"vectors": v, "streams": streams} for v in dict.fromkeys((vectors, -(-vectors // 2))) if v]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        p = split_product(problem)
        streams, panels = schedule["streams"], _Panels.of(p.channels, problem.target.lanes, schedule)
        core, cycles = problem.target.core, 0.0
        for widths in panels.tasks():
            sums = p.rows * sum(vectors for vectors, _ in widths) * streams
            loads = sums / p.rows + p.rows * streams
            step = max(sums / core.fma_per_cycle, loads / core.loads_per_cycle, core.fma_latency)
            cycles += p.steps / streams * step + PANEL_CYCLES
        compute = cycles / problem.target.gigahertz
        memory = memory_ns(p.weights.nbytes, problem.target, streams * panels.regions)
        starts = len(panels.tasks()) if panels.regions == 1 else 1
        return STEP_NS + max(compute, memory) + 0.2 * min(compute, memory) + STREAM_NS * (starts - 1)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return split_product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(split_product(problem), schedule).code()


@dataclass(frozen=True)
class _Panels(Panels):
    """Panels of output channels in ``regions`` runs, the first of which have one more where they are not equal."""

    regions: int

    @staticmethod
    def of(channels: int, lanes: int, schedule: Schedule) -> _Panels:
        return _Panels(channels, lanes, schedule["vectors"], schedule.get("regions", 1))

    @property
    def starts(self) -> list[int]:
        """The first panel of each region."""
        length, more = divmod(self.count, self.regions)
        return [region * length + min(region, more) for region in range(self.regions)]

    def tasks(self) -> list[tuple[tuple[int, int | None], ...]]:
        """For each task (vectors, lanes of the last vector or None) of its panels, which are one of each region."""
        length, more = divmod(self.count, self.regions)
        full, tail = (self.vectors, None), self.variants()[-1]
        found = [(full,) * self.regions] * (length - 1) + [(full,) * (self.regions - 1) + (tail,)]
        return found + [(full,) * more] * (more > 0)


class _Emitter:
    def __init__(self, product: Product, schedule: Schedule) -> None:
        self.p = product
        self.streams = schedule["streams"]
        self.lanes = product.problem.target.lanes
        self.panels = _Panels.of(product.channels, self.lanes, schedule)
        self.epilogue = product.epilogue
        self.step_stride = product.x.strides[1] if product.steps > 1 else 1

    @property
    def width(self) -> int:
        return self.panels.vectors * self.lanes

    def code(self) -> Code:
        p, panels = self.p, self.panels
        constants = [("weights", pack(p.weights, panels)), ("bias", pack_bias(p.bias, panels))]
        constants += self.epilogue.constants
        tasks = panels.tasks()
        variants = list(dict.fromkeys(tasks))
        w = Writer()
        for number, widths in enumerate(variants):
            self._task(w, number, widths)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("(void)scratch;")
            position = [(1, f"panel * {self.width}")]
            arguments = f"x0, weights + (ptrdiff_t)panel * {p.steps * self.width}, bias + panel * {self.width}"
            arguments += f", y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}"
            with w.block("for (int32_t panel = begin; panel < end; ++panel)"):
                for number, widths in enumerate(variants):
                    last = len(tasks) - tasks[::-1].index(widths)
                    head = f"{'else ' if number else ''}if (panel < {last})" if number < len(variants) - 1 else "else"
                    with w.block(head if len(variants) > 1 else ""):
                        w.line(f"@NAME@_{number}({arguments});")
        op = p.problem.anchor.op.name.lower()
        tile = f"{p.rows}x{panels.vectors}x{self.streams}x{panels.regions}"
        label = f"{op}_gemv_f32{self.epilogue.label}_{tile}"
        return Code(w.text(), label, tuple(a for _, a in constants), len(tasks), functions=self.epilogue.functions)

    def _task(self, w: Writer, number: int, widths: Sequence[tuple[int, int | None]]) -> None:
        """Write the function of a panel of each region."""
        p, streams = self.p, range(self.streams)
        sums = [(r, g, v) for g, (vectors, _) in enumerate(widths) for r in range(p.rows) for v in range(vectors)]
        length, rest = divmod(p.steps, self.streams)
        parameters = f"const float *x, const float *w, const float *b, float *y{self.epilogue.parameters}"
        with w.block(f"static void @NAME@_{number}({parameters})"):
            for j in streams:
                w.line("es_v " + ", ".join(f"s{j}_{r}_{g}_{v} = {{0}}" for r, g, v in sums) + ";")

            def in_c(length: int = length) -> None:
                with w.block(f"for (ptrdiff_t k = 0; k < {length}; ++k)"):
                    for j in streams:
                        self._step(w, j, f"k + {j * length}" if j else "k", widths)

            loop = self._lane_loop(widths)
            if loop:
                rest = p.steps % loop.steps
                self._by_lane(w, loop, partial(in_c, p.steps - rest))
            else:
                in_c()
            for i in range(rest):
                self._step(w, i % self.streams, str(p.steps - rest + i), widths)
            for r, g, v in sums:
                lanes = widths[g][1] if v == widths[g][0] - 1 else None
                channel = self.panels.starts[g] * self.width + v * self.lanes
                name = f"c{r}_{g}_{v}"
                total = " + ".join([f"es_load(b + {channel})", *(f"s{j}_{r}_{g}_{v}" for j in streams)])
                w.line(f"const es_v {name} = {total};")
                value = self.epilogue.apply(w, name, partial(_address, r, channel), lanes)
                target = _address(r, channel, Array("y", p.y))
                w.line(f"es_store_n({target}, {value}, {lanes});" if lanes else f"es_store({target}, {value});")
        w.line()

    def _lane_loop(self, widths: Sequence[tuple[int, int | None]]) -> LaneLoop | None:
        if self.streams > 1 or self.step_stride != 1:
            return None
        return LaneLoop.of(self.p.problem.target, self.p.rows, [vectors for vectors, _ in widths], self.p.steps)

    def _by_lane(self, w: Writer, loop: LaneLoop, in_c: Callable[[], None]) -> None:
        """Write the rounds of a loop, one stream of weights for each region."""
        p = self.p
        rows = [f"x + {r * p.x.strides[0]}" for r in range(p.rows)]
        regions = range(len(loop.streams))
        with w.block(""):
            for g in regions:
                w.line(f"ES_UNUSED const float *w{g} = w + {self.panels.starts[g] * p.steps * self.width};")
            weights = [f"w{g}" for g in regions]
            loop.write(w, p.steps // loop.steps, rows, weights, lambda r, g, v: f"s0_{r}_{g}_{v}", in_c)

    def _step(self, w: Writer, stream: int, step: str, widths: Sequence[tuple[int, int | None]]) -> None:
        """Write the multiply-adds of one step of a stream."""
        p = self.p
        at = step if step.isdigit() or step == "k" else f"({step})"
        with w.block(""):
            for r in range(p.rows):
                w.line(f"const es_v a{r} = es_set1(x[{at} * {self.step_stride} + {r * p.x.strides[0]}]);")
            for g, (vectors, _) in enumerate(widths):
                first = self.panels.starts[g] * p.steps * self.width
                for v in range(vectors):
                    place = f"w + {first + v * self.lanes} + {at} * {vectors * self.lanes}"
                    w.line(f"const es_v b{g}_{v} = es_load({place});")
                    for r in range(p.rows):
                        total = f"s{stream}_{r}_{g}_{v}"
                        w.line(f"{total} = es_fma(a{r}, b{g}_{v}, {total});")


def _address(row: int, channel: int, array: Array) -> str:
    """C text of the address of an element, from a pointer to the task's first channel."""
    return f"{array.pointer} + {strided(array.view, ((0, str(row)), (1, str(channel))))}"
