"""Activations spelled out in elementary operators become single operators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgesmith.ir import DType, Graph, Node, Patch
from edgesmith.ops.activations import Gelu, Swish
from edgesmith.ops.clip import Clip
from edgesmith.ops.elementwise import Elementwise
from edgesmith.ops.rectifiers import HardSigmoid, HardSwish
from edgesmith.passes.editing import nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import constant_input, is_close, scalar

MAX_FACTORS = 3


@dataclass(frozen=True)
class _Product:
    """``factor`` times some values."""

    factor: float
    values: tuple[str, ...]


@rewrite("activations")
def recognize_activations(graph: Graph) -> Iterator[Patch | Skipped]:
    """Swish, HardSwish, HardSigmoid and Gelu (exact and by tanh), written as products in any order.

    The products associate differently than in the model, and constants within a few roundings of the exact ones count
    as exact: results agree to a few ULP.
    """
    for node in nodes_of(graph, "Mul", "Div", "Clip"):
        if graph.type(node.outputs[0]).dtype is not DType.F32 or _is_inner(graph, node):
            continue
        found = _activation(graph, node)
        if found is not None and graph.type(found[1]) == graph.type(node.outputs[0]):
            yield substitute("activations", node, found[0], (found[1],))


def _is_inner(graph: Graph, node: Node) -> bool:
    """True for a factor of a larger product, which is looked at from its end."""
    reader = graph.sole_consumer(node.outputs[0])
    return node.op.name != "Clip" and reader is not None and _is_factor(graph, reader, node.outputs[0])


def _is_factor(graph: Graph, product: Node, value: str) -> bool:
    return product.op.name == "Mul" or (product.op.name == "Div" and product.inputs[0] == value)


def _activation(graph: Graph, node: Node) -> tuple[Elementwise, str] | None:
    """The operator that ``node`` amounts to, and its input."""
    if node.op.name == "Clip":
        return _unit_hard_sigmoid(graph, node) if isinstance(node.op, Clip) else None
    product = _product(graph, node)
    if len(product.values) == 1:
        x = _relu6_of_x_plus_3(graph, product.values[0])
        return (HardSigmoid(1 / 6, 0.5), x) if x and is_close(product.factor, 1 / 6) else None
    if len(product.values) == 2:
        for x, gate in (product.values, product.values[::-1]):
            op = _gated(graph, x, gate, product.factor)
            if op is not None:
                return op, x
    return None


def _product(graph: Graph, node: Node) -> _Product:
    """``node`` as a product, products below it that nobody else reads included."""
    factor, pending = 1.0, [node]
    values: list[str] = []
    while pending:
        current = pending.pop()
        for i, value in enumerate(current.inputs):
            number = scalar(graph, value)
            inner = graph.producer(value)
            divides = current.op.name == "Div" and i == 1
            if number is not None and (number != 0 or not divides):
                factor = factor / number if divides else factor * number
            elif divides:
                return _Product(1.0, ())
            elif (
                inner is not None
                and inner.op.name in ("Mul", "Div")
                and graph.sole_consumer(value) is not None
                and len(values) + len(pending) < MAX_FACTORS
            ):
                pending.append(inner)
            else:
                values.append(value)
    return _Product(factor, tuple(values))


def _gated(graph: Graph, x: str, gate: str, factor: float) -> Elementwise | None:
    """The operator that is ``factor * x * gate`` for a gate computed from x."""
    node = graph.producer(gate)
    if node is None or graph.sole_consumer(gate) is None:
        return None
    if node.op.name == "Sigmoid" and is_close(factor, 1):
        alpha = _multiple_of(graph, node.inputs[0], x)
        return Swish(alpha) if alpha is not None else None
    if isinstance(node.op, HardSigmoid) and node.inputs[0] == x and is_close(factor, 1):
        return HardSwish() if is_close(node.op.alpha, 1 / 6) and is_close(node.op.beta, 0.5) else None
    if node.op.name == "Clip" and is_close(factor, 1 / 6):
        return HardSwish() if _relu6_of_x_plus_3(graph, gate) == x else None
    if node.op.name == "Add" and is_close(factor, 0.5):
        return _gelu(graph, x, node)
    return None


def _gelu(graph: Graph, x: str, add: Node) -> Elementwise | None:
    """Gelu for x * 0.5 * (1 + erf(x / sqrt 2)), or the approximation by tanh."""
    inner = _plus(graph, add.outputs[0], 1.0)
    node = graph.producer(inner) if inner else None
    if node is None:
        return None
    if node.op.name == "Erf":
        scale = _multiple_of(graph, node.inputs[0], x)
        return Gelu() if scale is not None and is_close(scale, math.sqrt(0.5)) else None
    if node.op.name == "Tanh":
        product = _scaled(graph, node.inputs[0])
        polynomial = graph.producer(product.values[0]) if len(product.values) == 1 else None
        known = polynomial is not None and is_close(product.factor, math.sqrt(2 / math.pi))
        return Gelu("tanh") if known and polynomial is not None and _is_cubic(graph, polynomial, x) else None
    return None


def _is_cubic(graph: Graph, add: Node, x: str) -> bool:
    """True for x + 0.044715 x**3."""
    if add.op.name != "Add" or x not in add.inputs:
        return False
    product = _scaled(graph, add.inputs[1 - add.inputs.index(x)])
    if not is_close(product.factor, 0.044715):
        return False
    if product.values == (x, x, x):
        return True
    cube = graph.producer(product.values[0]) if len(product.values) == 1 else None
    return cube is not None and cube.op.name == "Pow" and cube.inputs[0] == x and scalar(graph, cube.inputs[1]) == 3


def _scaled(graph: Graph, value: str) -> _Product:
    node = graph.producer(value)
    return _product(graph, node) if node is not None and node.op.name in ("Mul", "Div") else _Product(1.0, (value,))


def _multiple_of(graph: Graph, value: str, x: str) -> float | None:
    """c where ``value`` is c * x."""
    if value == x:
        return 1.0
    product = _scaled(graph, value)
    return product.factor if product.values == (x,) else None


def _plus(graph: Graph, value: str, c: float) -> str | None:
    """x where ``value`` is x + c."""
    node = graph.producer(value)
    found = constant_input(graph, node) if node is not None and node.op.name == "Add" else None
    number = float(found.array.item()) if found and found.array.size == 1 else None
    return found.other if found and number is not None and is_close(number, c) else None


def _relu6_of_x_plus_3(graph: Graph, value: str) -> str | None:
    """x where ``value`` is min(6, max(0, x + 3))."""
    node = graph.producer(value)
    if node is None or not isinstance(node.op, Clip) or (node.op.low, node.op.high) != (0, 6):
        return None
    return _plus(graph, node.inputs[0], 3.0)


def _unit_hard_sigmoid(graph: Graph, clip: Node) -> tuple[Elementwise, str] | None:
    """HardSigmoid for min(1, max(0, alpha x + beta))."""
    assert isinstance(clip.op, Clip)
    if (clip.op.low, clip.op.high) != (0, 1):
        return None
    add = graph.producer(clip.inputs[0])
    found = constant_input(graph, add) if add is not None and add.op.name == "Add" else None
    if found is None or found.array.size != 1 or graph.sole_consumer(clip.inputs[0]) is None:
        return None
    product = _scaled(graph, found.other)
    inner = product.values[0] if len(product.values) == 1 else found.other
    alpha = product.factor if len(product.values) == 1 else 1.0
    return HardSigmoid(alpha, float(found.array.item())), inner
