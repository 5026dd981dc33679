"""Scales of QuantizeLinear folded into what it quantises, and clips that it makes superfluous."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.clip import Clip
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.movement import Movement
from edgesmith.ops.mul import Mul
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.relu import Relu
from edgesmith.passes.editing import Names, bypass, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import constant_input, scalar
from edgesmith.passes.quantized_values import is_dequantized, is_movement

RULE = "quantization-scales"
_HOMOGENEOUS = frozenset(("Relu", "LeakyRelu", "Add", "Sub"))
"""f(a x) = a f(x) for a > 0, applied to each operand."""


@rewrite(RULE)
def fold_scales(graph: Graph) -> Iterator[Patch | Skipped]:
    """x / scale is computed by the multiplications that lead to x, or else by one with the reciprocal.

    The scales of dequantised operands, of integer products and of the result become one factor each, rounded once;
    QuantizeLinear then has the scale 1, which costs nothing. Where x comes from outside the division stays.
    """
    for node in nodes_of(graph, "QuantizeLinear"):
        scale, zero = scalar(graph, node.inputs[1]), _zero(graph, node)
        if scale is None or zero is None:
            yield Skipped(node.name, "its scale is computed at run time")
            continue
        if not scale > 0 or not math.isfinite(scale):
            yield Skipped(node.name, f"its scale is {scale}")
            continue
        redundant = _superfluous_clip(graph, node, scale, zero)
        if redundant is not None:
            yield redundant
        elif scale != 1.0 and _is_computed(graph, node.inputs[0]):
            patch = _divided(graph, node, np.float64(scale))
            yield patch or Skipped(node.name, "what leads to it is about to become integers")


def _is_computed(graph: Graph, value: str) -> bool:
    """Whether arithmetic makes the value; where elements only move, QuantizeLinear goes to where they come from."""
    node = graph.producer(value)
    return node is not None and not isinstance(node.op, Movement | MaxPool)


def _zero(graph: Graph, node: Node) -> int | None:
    if len(node.read) < 3:
        return 0
    zero = graph.constants.get(node.inputs[2])
    return None if zero is None else int(zero.item())


def _superfluous_clip(graph: Graph, node: Node, scale: float, zero: int) -> Patch | None:
    """The patch without a Relu or Clip whose bounds the integers have anyway."""
    assert isinstance(node.op, QuantizeLinear)
    clip = graph.producer(node.inputs[0])
    if clip is None or graph.sole_consumer(node.inputs[0]) is not node:
        return None
    if isinstance(clip.op, Relu):
        low, high = 0.0, math.inf
    elif isinstance(clip.op, Clip):
        low = -math.inf if clip.op.low is None else clip.op.low
        high = math.inf if clip.op.high is None else clip.op.high
    else:
        return None
    lowest, highest = node.op.dtype.limits
    steps = [float(np.rint(np.float32(bound) / np.float32(scale))) + zero for bound in (low, high)]
    if steps[0] > lowest or steps[1] < highest:
        return None
    return bypass(graph, RULE, clip, clip.inputs[0])


@dataclass
class _Scaling:
    """New nodes that compute values divided by a number.

    Args:
        remove: nodes that nothing needs any more.
    """

    graph: Graph
    divisor: np.float64
    names: Names
    insert: list[Node] = field(default_factory=list)
    remove: set[str] = field(default_factory=set)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    made: dict[str, str | None] = field(default_factory=dict)
    """Value -> its name divided."""
    early: bool = False
    """Whether another pass will put multiplications where none lead to the value yet."""

    def value(self, value: str, reader: Node) -> str | None:
        """The name of ``value`` divided; None where no multiplication leads to it."""
        if value not in self.made:
            before = list(self.insert), set(self.remove), dict(self.constants)
            self.made[value] = self._value(value, reader)
            if self.made[value] is None:
                self.insert, self.remove, self.constants = before
        return self.made[value]

    def _value(self, value: str, reader: Node) -> str | None:
        array = self.graph.constants.get(value)
        if array is not None:
            return self._constant(value, array)
        node = self.graph.producer(value)
        if node is None:
            return None
        readers = self.graph.consumers[value]
        alone = value not in self.graph.outputs and all(n is reader for n in readers)
        if node.op.name == "DequantizeLinear":
            scale = self.graph.constants.get(node.inputs[1])
            inputs = None if scale is None else (node.inputs[0], self._constant(node.inputs[1], scale))
            return self._made(node, (*inputs, *node.inputs[2:]) if inputs else None, alone)
        if not alone:
            return None
        if _becomes_integers(self.graph, node):
            self.early = True
            return None
        if node.op.name == "Mul":
            return self._made(node, self._factors(node), alone)
        if isinstance(node.op, Clip):
            inner = self.value(node.inputs[0], node)
            bounds = [None if b is None else float(np.float32(b / self.divisor)) for b in (node.op.low, node.op.high)]
            return self._made(replace(node, op=Clip(*bounds)), (inner,) if inner else None, alone)
        if node.op.name not in _HOMOGENEOUS:
            return None
        operands = [self.value(v, node) for v in node.inputs]
        return self._made(node, tuple(v for v in operands if v) if all(operands) else None, alone)

    def _factors(self, node: Node) -> tuple[str, ...] | None:
        """The operands of a product, one of them divided: the constant, or else the first that can be."""
        found = constant_input(self.graph, node)
        if found is not None:
            if self.graph.type(found.other) != self.graph.type(node.outputs[0]):
                return None
            return found.other, self._constant(node.inputs[found.index], found.array)
        first, second = node.inputs
        if first == second:
            return None
        for value, other in ((first, second), (second, first)):
            divided = self.value(value, node)
            if divided is not None:
                return divided, other
        return None

    def _constant(self, name: str, array: np.ndarray) -> str:
        scaled = self.names(f"{name}:scaled")
        with np.errstate(over="ignore"):
            self.constants[scaled] = np.asarray(array.astype(np.float64) / self.divisor, np.float32)
        return scaled

    def _made(self, node: Node, inputs: tuple[str, ...] | None, alone: bool) -> str | None:
        if inputs is None:
            return None
        output = self.names(f"{node.outputs[0]}:scaled")
        name = node.name if alone else self.names(f"{node.name}:scaled")
        self.insert.append(Node(name, node.op, inputs, (output,), node.origin))
        if alone:
            self.remove.add(node.name)
        return output


def _becomes_integers(graph: Graph, node: Node) -> bool:
    """Whether ``integer_products`` or ``quantized_movement`` still have something to do with a node."""
    if node.op.name in ("Conv", "Gemm", "MatMul"):
        weights = graph.producer(node.inputs[1])
        if weights is None or not weights.op.name.startswith("DequantizeLinear"):
            return False
        return weights.inputs[0] in graph.constants
    return is_movement(node) and is_dequantized(graph, node.outputs[0])


def _divided(graph: Graph, node: Node, scale: np.float64) -> Patch | None:
    """The patch; None when it is too early."""
    names = Names(graph)
    scaling = _Scaling(graph, scale, names)
    x = scaling.value(node.inputs[0], node)
    if x is None and scaling.early:
        return None
    if x is None or not all(_is_normal(a) for a in scaling.constants.values()):
        reciprocal = np.asarray(1 / scale, np.float32)
        scaling = _Scaling(graph, scale, names)
        factor, x = names(f"{node.name}:reciprocal"), names(f"{node.name}:steps")
        scaling.constants[factor] = reciprocal
        scaling.insert.append(Node(names(f"{node.name}:mul"), Mul(), (node.inputs[0], factor), (x,), node.origin))
    one = names(f"{node.name}:one")
    scaling.constants[one] = np.asarray(1.0, np.float32)
    made = replace(node, inputs=(x, one, *node.inputs[2:]), origin=merged_origin((*scaling.insert[-1:], node)))
    return Patch(RULE, frozenset((*scaling.remove, node.name)), (*scaling.insert, made), scaling.constants)


def _is_normal(array: np.ndarray) -> bool:
    """Whether every number is 0 or has full precision."""
    size = np.abs(array[array != 0])
    return bool(np.isfinite(size).all() and (size >= np.finfo(np.float32).tiny).all())
