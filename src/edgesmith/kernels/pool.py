"""Pooling with vectors over the channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.pool_code import PoolCode
from edgesmith.kernels.pool_geometry import BUFFERED, CARRIED, DIRECT, PoolGeometry
from edgesmith.kernels.region import Region, epilogue_chains, widening_chains
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pool import Pool


@kernel
class VectorPool(Kernel):
    """Windows over one or two spatial axes, each tap a vector of channels.

    Schedule:
        separable: reduce the rows of the window for every column, then the columns of each output, which costs
            kh + kw instead of kh x kw steps for stride 1. 1: the columns of a row are kept in memory. 2: those that the
            next output shares are kept in registers, and all rows are done for a few channels before the next ones,
            so that the rows that windows share stay in the first-level cache.
        vectors: vectors of channels computed together.
    """

    name: ClassVar[str] = "pool"
    widens: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Pool):
            yield from epilogue_chains(graph, anchor)
            yield from widening_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if not isinstance(op, MaxPool | AveragePool | LpPool):
            return Reject("not a pool")
        if problem.target.isa is None:
            return Reject("needs vectors; the target is portable C")
        if isinstance(op, MaxPool) and op.indices:
            return Reject("returns indices")
        if isinstance(op, LpPool) and op.p > 2:
            return Reject(f"norm of order {op.p}; vectors compute orders 1 and 2")
        x = problem.region.source
        if problem.type(x).dtype not in (DType.F32, DType.F16) or x not in problem.region.inputs:
            return Reject(f"pools f32 and fp16 computed at run time, not {problem.type(x)}")
        if problem.type(x).rank > 4:
            return Reject(f"{problem.type(x).rank - 2} spatial axes; vectors pool over one or two")
        epilogue = Epilogue(problem, halves=True)
        if epilogue.reject:
            return Reject(epilogue.reject)
        for value in (x, *problem.region.outputs):
            view = problem.view(value)
            if view.shape[1] == 1 or view.strides[1] != 1:
                return Reject(f"the channels of {view} are not innermost")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Pool)
        needed = -(-problem.type(problem.region.outputs[0]).shape[1] // problem.target.lanes)
        window = op.window
        shared = window.kernel[-1] - window.strides[-1]
        found = []
        for vectors in (4, 2, 1):
            if vectors > needed and vectors > 1:
                continue
            carried = window.dilations[-1] == 1 and (shared + 1) * vectors + 2 <= problem.target.registers
            forms = (DIRECT, BUFFERED, CARRIED)[: 1 if shared <= 0 else 3 if carried else 2]
            found += [{"separable": form, "vectors": vectors} for form in forms]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 50 + PoolGeometry(problem, schedule).cycles() / problem.target.gigahertz

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem, halves=True).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return PoolCode(PoolGeometry(problem, schedule)).code()
