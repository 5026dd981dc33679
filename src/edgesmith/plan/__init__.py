"""Planning: which kernels cover the graph, where values lie, in what order steps run."""

from edgesmith.plan.plan import Buffer, Plan, Space, Step, make_plan, own_memory

__all__ = ["Buffer", "Plan", "Space", "Step", "make_plan", "own_memory"]
