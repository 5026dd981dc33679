"""Planning: which kernels cover the graph, where values lie, in what order steps run."""

from edgesmith.plan.lock import Lock
from edgesmith.plan.memory import Buffer, Space
from edgesmith.plan.outputs import own_memory
from edgesmith.plan.patches import Patching, divided
from edgesmith.plan.plan import Plan, make_plan
from edgesmith.plan.select import CostModel, analytic
from edgesmith.plan.step import Step

__all__ = [
    "Buffer",
    "CostModel",
    "Lock",
    "Patching",
    "Plan",
    "Space",
    "Step",
    "analytic",
    "divided",
    "make_plan",
    "own_memory",
]
