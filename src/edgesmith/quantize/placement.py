"""Which nodes compute with integers, and which values are stored as integers between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from edgesmith.errors import BadInput
from edgesmith.ir import DType, Graph, Node, Op
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.movement import Movement
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.settings import Settings, unknown

__all__ = ["Placement", "Role", "check_names", "is_allowed", "place", "reads_integers", "role", "stored_values"]


class Role(Enum):
    """What an operator has to do with integers."""

    PRODUCT = "multiplies integers by integer weights"
    AVERAGE = "reads a value from memory and sums it up"
    SAMPLE = "reads a value from memory and interpolates"
    MOVE = "moves or chooses elements, whatever their type"
    ELEMENTWISE = "is computed in f32 between the sums and the rounding, in registers"
    FLOAT = "is computed in f32 from f32"


PRODUCTS = frozenset(("Conv", "Gemm", "MatMul"))
AVERAGES = frozenset(("AveragePool", "GlobalAveragePool", "ReduceMean"))
SAMPLES = frozenset(("Resize",))
ELEMENTWISE = frozenset(
    (
        *("Add", "Sub", "Mul", "Sum", "Mean", "Max", "Min", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh"),
        *("HardSigmoid", "HardSwish", "Swish", "Gelu", "Mish", "Elu", "Selu", "Celu", "Softplus", "Abs", "Neg"),
    )
)
"""The rest is sensitive to rounding (Exp, Div, Softmax, normalisations) or has nothing to gain, and stays in floats."""

_SMALL = 16
"""An operand with so many times fewer elements than the result costs nothing to read as floats."""


def role(op: Op) -> Role:
    """What an operator has to do with integers, by the tables above."""
    if op.name in PRODUCTS:
        return Role.PRODUCT
    if op.name in AVERAGES:
        return Role.AVERAGE
    if isinstance(op, Movement) or (isinstance(op, MaxPool) and not op.indices):
        return Role.MOVE
    if op.name in SAMPLES:
        return Role.SAMPLE
    return Role.ELEMENTWISE if op.name in ELEMENTWISE else Role.FLOAT


@dataclass(frozen=True, eq=False)
class Placement:
    """What of a graph can be quantised.

    Args:
        products: nodes whose weights become integers, by name.
        values: values that are stored as integers, in topological order, if all of these products are quantised.
        floats: why other Conv, Gemm and MatMul nodes stay in floats, by name.
    """

    products: Mapping[str, Product]
    values: tuple[str, ...]
    floats: Mapping[str, str]


def place(graph: Graph, settings: Settings) -> Placement:
    """What of an optimised graph can be quantised under the settings.

    Raises:
        BadInput: ``exclude`` or ``only`` name what the graph does not have.
    """
    check_names(graph, settings)
    products: dict[str, Product] = {}
    floats: dict[str, str] = {}
    for node in graph.nodes:
        if role(node.op) is not Role.PRODUCT:
            continue
        found = product(graph, node) if is_allowed(node, settings) else "excluded"
        if isinstance(found, Product):
            products[node.name] = found
        else:
            floats[node.name] = found
    return Placement(products, stored_values(graph, products.keys(), settings), floats)


def stored_values(graph: Graph, products: Collection[str], settings: Settings) -> tuple[str, ...]:
    """Values that are stored as integers when ``products`` (names of nodes) multiply integers.

    A value becomes integers where it goes to memory anyway: before a product, an average or an interpolation, and
    before a movement whose result is stored as integers. Of the operands of an elementwise operator whose result is
    stored as integers, the one that is computed last stays in registers, as f32; the others are read from memory.
    """
    stored: set[str] = set()
    for node in reversed(graph.nodes):
        stored.update(v for v in _read_as_integers(graph, node, products, settings, stored) if _can_store(graph, v))
    order = (*graph.inputs, *(v for node in graph.nodes for v in node.outputs))
    return tuple(v for v in order if v in stored)


def reads_integers(graph: Graph, node: Node, products: Collection[str], settings: Settings) -> bool:
    """Whether a node reads the rounded form of a value that is stored as integers, rather than the exact one."""
    kind = role(node.op) if is_allowed(node, settings) else Role.FLOAT
    if kind is Role.PRODUCT:
        return node.name in products
    if kind is Role.MOVE:
        readers = [r for v in node.outputs for r in graph.consumers[v]]
        ends = any(v in graph.outputs for v in node.outputs)
        return not ends and all(reads_integers(graph, r, products, settings) for r in readers)
    return kind is not Role.FLOAT


def _read_as_integers(
    graph: Graph, node: Node, products: Collection[str], settings: Settings, stored: Collection[str]
) -> tuple[str, ...]:
    """The inputs that a node wants as integers, given which of its outputs are stored so."""
    if not is_allowed(node, settings):
        return ()
    kind = role(node.op)
    needed = any(v in stored for v in node.outputs)
    if kind is Role.PRODUCT:
        return node.inputs[:1] if node.name in products else ()
    if kind is Role.AVERAGE or (kind is Role.SAMPLE and needed):
        return node.inputs[:1]
    if kind is Role.MOVE and needed:
        return node.read if reads_integers(graph, node, products, settings) else ()
    if kind is Role.ELEMENTWISE and _leads_to_integers(graph, node, stored):
        return _operands_in_memory(graph, node)
    return ()


def _leads_to_integers(graph: Graph, node: Node, stored: Collection[str]) -> bool:
    """Whether the result of an elementwise operator is stored as integers, after further ones perhaps."""
    (value,) = node.outputs
    if value in stored:
        return True
    reader = graph.sole_consumer(value)
    return reader is not None and role(reader.op) is Role.ELEMENTWISE and _leads_to_integers(graph, reader, stored)


def _operands_in_memory(graph: Graph, node: Node) -> tuple[str, ...]:
    result = graph.type(node.outputs[0])
    computed = [v for v in dict.fromkeys(node.read) if v not in graph.constants]
    large = [v for v in computed if graph.type(v).size * _SMALL > result.size]
    candidates = [v for v in large if graph.sole_consumer(v) is node and _leaves_registers(graph, v)]
    last = max(candidates, key=lambda v: graph.position[graph.producers[v].name], default=None)
    return tuple(v for v in large if v != last and not _is_float(graph, v))


def _leaves_registers(graph: Graph, value: str) -> bool:
    """Whether the value's producer can go on with elementwise operators."""
    node = graph.producer(value)
    return node is not None and role(node.op) in (Role.PRODUCT, Role.ELEMENTWISE)


def _is_float(graph: Graph, value: str) -> bool:
    node = graph.producer(value)
    return node is not None and role(node.op) is Role.FLOAT


def _can_store(graph: Graph, value: str) -> bool:
    kind = graph.type(value)
    return value not in graph.constants and kind.dtype is DType.F32 and kind.size > 0


def is_allowed(node: Node, settings: Settings) -> bool:
    """Whether the settings leave a node to be quantised."""
    if node.name in settings.exclude or any(o in settings.exclude for o in node.origin):
        return False
    return settings.only is None or node.op.name in settings.only or role(node.op) is Role.MOVE


def check_names(graph: Graph, settings: Settings) -> None:
    """Raise ``BadInput`` where ``exclude`` or ``only`` name what the graph does not have."""
    nodes = dict.fromkeys(name for n in graph.nodes for name in (n.name, *n.origin))
    for name in settings.exclude:
        if name not in nodes:
            raise unknown("node", name, nodes, "quantisation: exclude")
    kinds = sorted(PRODUCTS | AVERAGES | SAMPLES | ELEMENTWISE)
    for name in settings.only or ():
        if name not in kinds:
            raise unknown("operator to quantise", name, kinds, "quantisation: only")
    if settings.only is not None and not PRODUCTS & set(settings.only):
        raise BadInput(
            "none of the operators computes with integers", where="quantisation: only", hint="add Conv, Gemm or MatMul"
        )
