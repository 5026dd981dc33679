"""Matrix product of few rows with weights in 4 bits, which are unpacked in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.blocks import CODES, BlockProduct, block_product, number
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels
from edgesmith.ops import Array
from edgesmith.ops.block_scales import BlockMatMul

STEP_NS = 60.0
UNPACK_UOPS = 3.0
PANEL_CYCLES = 40.0
MOST_VECTORS = 8


@kernel
class BlockGemv(Kernel):
    """All rows at once, a panel of output channels after the other.

    The products of a block are summed with the integers; the sums are multiplied by the scales and added up. The words
    of a panel are one stream of addresses.
    """

    name: ClassVar[str] = "block-gemv"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, BlockMatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        product = block_product(problem)
        if product.reject is not None:
            return Reject(product.reject)
        if not _most_vectors(problem):
            return Reject(f"sums of {product.rows} rows do not fit the registers")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        product = block_product(problem)
        needed = -(-product.channels // problem.target.lanes)
        most = min(_most_vectors(problem), MOST_VECTORS, needed)
        return [{"vectors": v} for v in range(most, 0, -1)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        p, core, lanes = block_product(problem), problem.target.core, problem.target.lanes
        panels = Panels(p.channels, lanes, schedule["vectors"])
        cycles = 0.0
        for (vectors, _), count in panels.counted():
            unpack_uops = vectors * (UNPACK_UOPS + (p.zeros is not None))
            uops = unpack_uops + vectors * p.rows
            step = max(uops / core.uops_per_cycle, p.rows / core.fma_per_cycle, core.fma_latency)
            scale = p.blocks * vectors * (p.rows + 1) / 2
            cycles += count * (p.steps * step + scale + PANEL_CYCLES)
        compute = cycles / problem.target.gigahertz
        memory = memory_ns(p.weights.size / 2 + p.scales.nbytes * (1 if p.zeros is None else 2), problem.target)
        return STEP_NS + max(compute, memory) + 0.2 * min(compute, memory)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return block_product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(block_product(problem), schedule["vectors"]).code()


def _most_vectors(problem: Problem) -> int:
    """Vectors of which the words and the sums of a block, an unpacked vector and an input fit the registers."""
    return (problem.target.registers - 2) // (block_product(problem).rows + 1)


class _Emitter:
    def __init__(self, product: BlockProduct, vectors: int) -> None:
        self.p = product
        self.lanes = product.problem.target.lanes
        self.panels = Panels(product.channels, self.lanes, vectors)
        self.epilogue = product.epilogue

    def code(self) -> Code:
        p, panels = self.p, self.panels
        constants = [*p.packed(panels), *self.epilogue.constants]
        w = Writer()
        for variant, (vectors, tail) in enumerate(panels.variants()):
            self._panel(w, variant, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("(void)scratch;")
            width = panels.vectors * self.lanes
            position = [(1, f"panel * {width}")]
            arguments = f"x0, codes + (ptrdiff_t)panel * {p.groups * width * CODES // 2}"
            arguments += f", scales + (ptrdiff_t)panel * {p.blocks * width}"
            if p.zeros is not None:
                arguments += f", zeros + (ptrdiff_t)panel * {p.blocks * width}"
            arguments += f", y0 + {strided(p.y, position)}{self.epilogue.arguments(position)}"
            with w.block("for (int32_t panel = begin; panel < end; ++panel)"):
                panels.write_variants(w, "panel", lambda variant: w.line(f"@NAME@_{variant}({arguments});"))
        label = f"matmul_w4b{p.block}_gemv_f32{self.epilogue.label}_{p.rows}x{panels.vectors}"
        return Code(w.text(), label, tuple(a for _, a in constants), panels.count, functions=self.epilogue.functions)

    def _panel(self, w: Writer, variant: int, vectors: int, tail: int | None) -> None:
        """Write the function of one panel."""
        p = self.p
        zeros = ", const float *z" if p.zeros is not None else ""
        parameters = f"const float *x, const uint8_t *w, const float *s{zeros}, float *y{self.epilogue.parameters}"
        sums = [f"{r}_{v}" for r in range(p.rows) for v in range(vectors)]
        with w.block(f"static void @NAME@_{variant}({parameters})"):
            w.line("es_v " + ", ".join(f"c{i} = {{0}}" for i in sums) + ";")
            full, rest = divmod(p.steps, p.block_groups * CODES)
            with w.block(f"for (ptrdiff_t block = 0; block < {full}; ++block)"):
                self._block(w, p.block_groups * CODES if full else 0, vectors, sums)
            if rest:
                self._block(w, rest, vectors, sums)
            for r in range(p.rows):
                for v in range(vectors):
                    lanes = tail if v == vectors - 1 else None
                    value = self.epilogue.apply(w, f"c{r}_{v}", partial(self._address, r, v), lanes)
                    target = self._address(r, v, Array("y", p.y))
                    w.line(f"es_store_n({target}, {value}, {lanes});" if lanes else f"es_store({target}, {value});")
        w.line()

    def _block(self, w: Writer, steps: int, vectors: int, sums: Sequence[str]) -> None:
        """Write the products of a block, of whole runs of steps and a shorter one."""
        p = self.p
        groups, rest = divmod(steps, CODES)
        with w.block(""):
            w.line("es_v " + ", ".join(f"b{i} = {{0}}" for i in sums) + ";")
            if p.zeros is not None:
                w.line("const es_v " + ", ".join(f"z{v} = es_load(z + {v * self.lanes})" for v in range(vectors)) + ";")
                w.line(f"z += {vectors * self.lanes};")
            if groups:
                with w.block(f"for (ptrdiff_t k = 0; k < {groups}; ++k)"):
                    self._steps(w, CODES, vectors)
            if rest:
                self._steps(w, rest, vectors)
            for v in range(vectors):
                w.line(f"const es_v s{v} = es_load(s + {v * self.lanes});")
                for r in range(p.rows):
                    w.line(f"c{r}_{v} = es_fma(b{r}_{v}, s{v}, c{r}_{v});")
            w.line(f"s += {vectors * self.lanes};")

    def _steps(self, w: Writer, count: int, vectors: int) -> None:
        p = self.p
        for v in range(vectors):
            w.line(f"const es_m w{v} = es_quads_i8((const int8_t *)w + {v * self.lanes * CODES // 2});")
        for code in range(count):
            with w.block(""):
                for r in range(p.rows):
                    w.line(f"const es_v a{r} = es_set1(x[{code * p.step_stride + r * p.x.strides[0]}]);")
                for v in range(vectors):
                    zero = f"z{v}" if p.zeros is not None else None
                    w.line(f"const es_v q{v} = {number(code, f'w{v}', zero)};")
                    for r in range(p.rows):
                        w.line(f"b{r}_{v} = es_fma(a{r}, q{v}, b{r}_{v});")
        w.line(f"x += {count * p.step_stride};")
        w.line(f"w += {vectors * self.lanes * CODES // 2};")

    def _address(self, row: int, vector: int, array: Array) -> str:
        """C text of the address of an element, from a pointer to the panel's first channel."""
        return f"{array.pointer} + {strided(array.view, ((0, str(row)), (1, str(vector * self.lanes))))}"
