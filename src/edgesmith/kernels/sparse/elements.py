"""Matrix product with constant weights most of which are zero, wherever the zeros lie.

For each output channel a list of input channels; each of them is one multiply-add of a vector of pixels by one weight:
E. Elsen, M. Dukhan, T. Gale, K. Simonyan, "Fast Sparse ConvNets", arXiv:1911.09723, 2019. There, values lie channel by
channel; here they keep the channels innermost, as all other kernels want them: each task brings its pixels into that
order and its results back, in registers, which the products of all output channels share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.cycles import FLOAT_BYTES, cycles_of, memory_ns
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.sparse.element_code import ElementEmitter, chains, scratch_bytes
from edgesmith.kernels.sparse.pattern import SparseProduct, sparse_product
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

PAYS_BELOW = 0.5
"""Share of weights that are not zero from which on a dense product was never slower."""
WIDTHS = (8, 7, 6, 5, 4, 3, 2, 1)
STEP_NS = 60.0
TASK_CYCLES = 60.0
CHANNEL_CYCLES = 6.0
"""Until the sums of a channel are started, and after they are finished."""
LIST_CYCLES = 0.5
TURN_CYCLES = 6.0
"""Cycles of bringing one vector from pixels to channels or back, its load and store included."""
ISSUE_SHARE = 0.25
ANYWHERE = 1.5
"""How much faster lines come from the second-level cache that do not wait for one another."""


@kernel
class SparseElements(Kernel):
    """Vectors of pixels times lists of weights.

    Schedule:
        vectors: of pixels in a task.
    """

    name: ClassVar[str] = "sparse-elements"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        found = sparse_product(problem)
        if isinstance(found, str):
            return Reject(found)
        if found.density > PAYS_BELOW:
            return Reject(f"density {found.density:.2f} of the weights; pays below {PAYS_BELOW}")
        if not found.product.even:
            return Reject("rows are not evenly spaced in memory")
        if found.product.rows < problem.target.lanes // 2:
            return Reject(f"{found.product.rows} rows do not fill a vector")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        p, target = _sparse(problem).product, problem.target
        needed, most = -(-p.rows // target.lanes), target.registers - 4
        widths = [v for v in WIDTHS if v <= min(needed, most)]
        fitting = [v for v in widths if scratch_bytes(p, v) <= target.l2_bytes // 2] or [widths[-1]]
        # Of widths that cut the rows into equally many tasks, the narrowest computes least in vain.
        tasks = {-(-needed // v): v for v in fitting}
        return tuple({"vectors": v} for v in sorted(tasks.values(), reverse=True))

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        sparse = _sparse(problem)
        p, target, vectors = sparse.product, problem.target, schedule["vectors"]
        core, lanes = target.core, target.lanes
        tasks = -(-p.rows // (vectors * lanes)) * _slices(sparse)
        load = (vectors + 1) / core.loads_per_cycle
        each = max(vectors / core.fma_per_cycle, load, core.fma_latency / chains(target, vectors))
        each += ISSUE_SHARE * load + LIST_CYCLES
        if p.steps * vectors * lanes * FLOAT_BYTES > target.l1_bytes:
            each = max(each, vectors * lanes * FLOAT_BYTES / (ANYWHERE * core.l2_bytes_per_cycle))
        turned = vectors * (p.steps + -(-p.channels // lanes) * lanes)
        after = vectors * p.channels * cycles_of(p.epilogue.expr, target)
        cycles = tasks * (
            sparse.count * each + p.channels * CHANNEL_CYCLES + turned * TURN_CYCLES + after + TASK_CYCLES
        )
        return STEP_NS + max(cycles / target.gigahertz, memory_ns(6 * sparse.count, target))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return _sparse(problem).product.epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return ElementEmitter(_sparse(problem), schedule["vectors"]).code()


def _sparse(problem: Problem) -> SparseProduct:
    found = sparse_product(problem)
    assert isinstance(found, SparseProduct)
    return found


def _slices(sparse: SparseProduct) -> int:
    count = 1
    for extent in sparse.product.slices:
        count *= extent
    return count
