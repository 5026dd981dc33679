"""The typed graph that every stage of the pipeline reads and that only patches change."""

from edgesmith.ir.graph import Graph, Node
from edgesmith.ir.op import Cost, Op
from edgesmith.ir.patch import Patch, apply
from edgesmith.ir.types import DType, TensorType
from edgesmith.ir.view import View

__all__ = ["Cost", "DType", "Graph", "Node", "Op", "Patch", "TensorType", "View", "apply"]
