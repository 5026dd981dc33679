"""Folding of Mul, Div, Add and Sub by constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.mul import Mul
from edgesmith.passes.affine import affine, into_consumer, into_producer
from edgesmith.passes.editing import Names, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import constant_input


@rewrite("fold-scale-shift")
def fold_scale_shift(graph: Graph) -> Iterator[Patch | Skipped]:
    """Mul, Div, Add and Sub by constants go into the weights and bias of the linear operator before or after them.

    x W c becomes x (W c), and so on: constants are combined in f64 and rounded once, products associate differently.
    """
    for node in nodes_of(graph, "Mul", "Div", "Add", "Sub"):
        given = affine(graph, node)
        if given is None:
            continue
        before = into_producer(graph, "fold-scale-shift", node, given)
        if isinstance(before, Patch):
            yield before
            continue
        after = into_consumer(graph, "fold-scale-shift", node, given)
        yield after if isinstance(after, Patch) else Skipped(node.name, f"{before}; {after}")


@rewrite("constant-arithmetic")
def simplify_constant_arithmetic(graph: Graph) -> Iterator[Patch | Skipped]:
    """x - c becomes x + (-c) and x / c becomes x * (1 / c); consecutive Mul or Add by constants become one.

    (x * a + b) * c becomes x * (a c) + b c. (x + a) * b stays: with x near -a, x * b + a b would lose digits. Constants
    are combined in f64 and rounded once; 1 / c adds a rounding of half an ULP.
    """
    rule = "constant-arithmetic"
    for node in nodes_of(graph, "Mul", "Div", "Add", "Sub"):
        found = constant_input(graph, node)
        if found is None or not graph.type(found.other).dtype.is_float:
            continue
        if node.op.name in ("Sub", "Div"):
            if found.index == 0:
                yield Skipped(node.name, "the constant is its first operand")
                continue
            op, new = (Add(), -found.array) if node.op.name == "Sub" else (Mul(), _reciprocal(found.array))
            if new is None:
                yield Skipped(node.name, "1 / c is not a normal number")
                continue
            yield _with_constant(graph, rule, node, op, found.other, new)
            continue
        inner = graph.producer(found.other)
        if inner is None or graph.sole_consumer(found.other) is not node:
            continue
        below = constant_input(graph, inner)
        if below is None:
            continue
        if type(inner.op) is type(node.op):
            merged = _combined(node.op.name, below.array, found.array)
            if merged is None:
                yield Skipped(node.name, "the merged constant is larger than both, cancels, or is no normal number")
            else:
                yield _with_constant(graph, rule, node, node.op, below.other, merged, (inner,))
        elif isinstance(node.op, Mul) and isinstance(inner.op, Add):
            yield from _distribute(graph, rule, node, inner, found.array)


def _distribute(graph: Graph, rule: str, node: Node, add: Node, factor: np.ndarray) -> Iterator[Patch | Skipped]:
    """(x * a + b) * c as x * (a c) + b c."""
    added = constant_input(graph, add)
    assert added is not None
    mul = graph.producer(added.other)
    if mul is None or not isinstance(mul.op, Mul) or graph.sole_consumer(added.other) is not add:
        return
    scaled = constant_input(graph, mul)
    if scaled is None:
        return
    scale, shift = _combined("Mul", scaled.array, factor), _combined("Mul", added.array, factor)
    if scale is None or shift is None:
        yield Skipped(node.name, "the merged constant is larger than both, cancels, or is no normal number")
        return
    names = Names(graph)
    product, first, second = (names(f"{node.name}:{part}") for part in ("product", "scale", "shift"))
    inner = Node(names(f"{node.name}:mul"), Mul(), (scaled.other, first), (product,), mul.origin)
    yield substitute(
        rule,
        node,
        Add(),
        (product, second),
        absorbed=(mul, add),
        before=(inner,),
        constants={first: scale, second: shift},
    )


def _with_constant(
    graph: Graph,
    rule: str,
    node: Node,
    op: Op,
    x: str,
    constant: np.ndarray,
    absorbed: tuple[Node, ...] = (),
) -> Patch:
    name = Names(graph)(f"{node.name}:constant")
    return substitute(rule, node, op, (x, name), absorbed=absorbed, constants={name: constant})


def _reciprocal(c: np.ndarray) -> np.ndarray | None:
    with np.errstate(all="ignore"):
        result = (1 / c.astype(np.float64)).astype(c.dtype)
    magnitude = np.abs(result)
    usable = np.isfinite(c).all() and np.isfinite(result).all() and (magnitude >= np.finfo(c.dtype).tiny).all()
    return result if usable else None


def _combined(operator: str, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """a + b or a b; None when it takes more elements than the larger, overflows or underflows, or when a sum cancels.

    In x + a + b with b near -a the model rounds x to the digits that a leaves, and so must the program.
    """
    shape = np.broadcast_shapes(a.shape, b.shape)
    if int(np.prod(shape)) > max(a.size, b.size):
        return None
    left, right = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        result = np.asarray(left + right if operator == "Add" else left * right).astype(a.dtype)
    tiny = np.abs(result) < np.finfo(a.dtype).tiny
    if operator == "Mul":
        lost = bool((tiny & (left != 0) & (right != 0)).any())
    else:
        lost = bool((np.abs(result) < np.maximum(np.abs(left), np.abs(right)) / 2).any())
    return result if np.isfinite(result).all() and not lost else None
