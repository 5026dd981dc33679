"""What passes ask about quantised values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.movement import Movement
from edgesmith.ops.pad import Pad
from edgesmith.ops.resize import NearestResize

__all__ = [
    "BYTES",
    "INTEGERS",
    "Quantization",
    "common_quantization",
    "filled",
    "is_dequantized",
    "is_movement",
    "quantization",
]

BYTES = (DType.I8, DType.U8)
INTEGERS = (*BYTES, DType.I16, DType.U16)
"""What QuantizeLinear may give."""


@dataclass(frozen=True)
class Quantization:
    """How integers stand for numbers: (integer - zero) * scale."""

    scale: np.float32
    zero: int
    dtype: DType

    def quantize(self, number: float) -> int:
        low, high = self.dtype.limits
        steps = float(np.rint(np.float32(number) / self.scale)) + self.zero
        return int(min(max(steps, low), high))

    def dequantize(self, integer: int) -> float:
        return float(np.float32(integer - self.zero) * self.scale)


def quantization(graph: Graph, node: Node | None, kind: str) -> Quantization | None:
    """Of a QuantizeLinear or DequantizeLinear (``kind``) with one constant scale; None for any other node."""
    if node is None or node.op.name != kind:
        return None
    scale, zero = graph.constants.get(node.inputs[1]), (*node.inputs, "", "")[2]
    if scale is None or scale.size != 1 or (zero and zero not in graph.constants):
        return None
    if not 0 < scale.item() < np.inf:
        return None
    integer = node.outputs[0] if kind == "QuantizeLinear" else node.inputs[0]
    point = int(graph.constants[zero].item()) if zero else 0
    return Quantization(np.float32(scale.item()), point, graph.type(integer).dtype)


def is_movement(node: Node) -> bool:
    """Whether every output element is some input element, or the constant of a Pad."""
    if isinstance(node.op, MaxPool):
        return not node.op.indices
    if isinstance(node.op, NearestResize) and node.op.sampling.coordinate_transformation_mode == "tf_crop_and_resize":
        return False
    return isinstance(node.op, Movement)


def filled(node: Node) -> float | None:
    """The number that an operator fills with, if it does."""
    if not isinstance(node.op, Pad) or node.op.mode != "constant" or not any((*node.op.begin, *node.op.end)):
        return None
    return 0.0 if node.op.value is None else float(node.op.value)


def common_quantization(node: Node, inputs: Iterable[Quantization | None]) -> Quantization | None:
    """The quantisation of all inputs of a movement, when it can move their integers instead."""
    found = set(inputs)
    one = found.pop() if len(found) == 1 else None
    if one is None or (isinstance(node.op, MaxPool) and one.dtype not in INTEGERS):
        return None
    fill = filled(node)
    return one if fill is None or one.dequantize(one.quantize(fill)) == np.float32(fill) else None


def is_dequantized(graph: Graph, value: str) -> bool:
    """Whether movement alone makes a value from dequantised ones, and could move their integers instead."""
    members: dict[str, Node] = {}
    pending = [value]
    while pending:
        node = graph.producer(pending.pop())
        if node is not None and node.name not in members and is_movement(node):
            members[node.name] = node
            pending += node.read
    known: dict[str, Quantization | None] = {}
    for node in sorted(members.values(), key=lambda n: graph.position[n.name]):
        inputs = (known[v] if v in known else _dequantized(graph, v) for v in node.read)
        known |= dict.fromkeys(node.outputs, common_quantization(node, inputs))
    return (known[value] if value in known else _dequantized(graph, value)) is not None


def _dequantized(graph: Graph, value: str) -> Quantization | None:
    return quantization(graph, graph.producer(value), "DequantizeLinear")
