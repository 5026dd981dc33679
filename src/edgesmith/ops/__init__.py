"""The operators: one file each with attributes, ONNX binding, shape inference, numpy reference, cost and portable C."""

from edgesmith.ops.base import OPS, Array, OnnxNode, Operator, operator
from edgesmith.ops.elementwise import Elementwise
from edgesmith.ops.movement import Copy, Movement

__all__ = ["OPS", "Array", "Copy", "Elementwise", "Movement", "OnnxNode", "Operator", "operator"]
