"""Matrix product with constant weights in which blocks are zero: a vector of output channels by one input channel.

As the dense product's tiles, but that the reduction of each panel runs over the list of its blocks that are not zero:
D. Narang, E. Undersander, G. Diamos, "Block-Sparse Recurrent Neural Networks", arXiv:1711.02782, 2017, with the blocks'
shape from the registers, as in E. Elsen, M. Dukhan, T. Gale, K. Simonyan, "Fast Sparse ConvNets", arXiv:1911.09723,
2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.sparse.block_code import BlockEmitter
from edgesmith.kernels.sparse.block_cost import STEP_NS, blockings, nanoseconds
from edgesmith.kernels.sparse.pattern import SparseProduct, sparse_product
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

PAYS_BELOW = 0.85
"""Share of blocks that are not zero from which on a dense product was never slower."""


@kernel
class SparseBlocks(Kernel):
    """Rows of input times lists of blocks of packed weights, in register tiles.

    Schedule: as the dense product's (``Blocking``); the reduction is one pass.
    """

    name: ClassVar[str] = "sparse-blocks"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        found = sparse_product(problem)
        if isinstance(found, str):
            return Reject(found)
        if found.block_density > PAYS_BELOW:
            shape = f"{problem.target.lanes}x1 blocks"
            return Reject(f"density {found.block_density:.2f} of {shape}; pays below {PAYS_BELOW}")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return _schedules(problem)

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return STEP_NS + nanoseconds(_sparse(problem), schedule)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return _sparse(problem).product.epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return BlockEmitter(_sparse(problem), schedule).code()


def _sparse(problem: Problem) -> SparseProduct:
    found = sparse_product(problem)
    assert isinstance(found, SparseProduct)
    return found


@lru_cache(maxsize=8)
def _schedules(problem: Problem) -> tuple[Schedule, ...]:
    return tuple(blockings(_sparse(problem)))
