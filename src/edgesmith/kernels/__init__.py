"""Kernels: how a region of the graph is computed on a target. One file an algorithm, found through the registry."""

from edgesmith.kernels.base import KERNELS, Code, Kernel, Place, Problem, Reject, Schedule, kernel, refusal
from edgesmith.kernels.region import Region

__all__ = ["KERNELS", "Code", "Kernel", "Place", "Problem", "Region", "Reject", "Schedule", "kernel", "refusal"]
