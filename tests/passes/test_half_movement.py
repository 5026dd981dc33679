"""Values of fp16 between steps."""

from __future__ import annotations

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.cast import Cast, widens_half
from edgesmith.ops.concat import Concat
from edgesmith.ops.functions import Sigmoid
from edgesmith.ops.relu import Relu
from edgesmith.ops.transpose import Transpose

from .graphs import Sketch, optimized

HALF, FLOAT = Cast(DType.F16), Cast(DType.F32)


def casts(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Cast)]


def test_a_conversion_and_back_is_nothing() -> None:
    s = Sketch()
    h = s.add(HALF, s.input(2, 3))
    before = s.graph(s.add(FLOAT, s.add(HALF, s.add(FLOAT, h))))
    after, _ = optimized(before)
    assert len(casts(after)) == 2


def test_fp16_is_moved() -> None:
    s = Sketch()
    x, y = s.input(2, 3), s.input(2, 3)
    both = s.add(Concat(1), s.add(FLOAT, s.add(HALF, x)), s.add(FLOAT, s.add(HALF, y)))
    before = s.graph(s.add(Relu(), s.add(Transpose((1, 0)), both)))
    after, _ = optimized(before)
    moved = [n for n in after.nodes if n.op.name in ("Concat", "Transpose")]
    assert moved and all(after.type(n.outputs[0]).dtype is DType.F16 for n in moved)
    assert sum(widens_half(after, n) for n in after.nodes) == 1


def test_what_else_is_joined_stays_f32() -> None:
    s = Sketch()
    x, y = s.input(2, 3), s.input(2, 3)
    before = s.graph(s.add(Concat(1), s.add(FLOAT, s.add(HALF, x)), y))
    after, _ = optimized(before)
    (joined,) = (n for n in after.nodes if n.op.name == "Concat")
    assert after.type(joined.outputs[0]).dtype is DType.F32


def test_each_reader_widens_for_itself() -> None:
    s = Sketch()
    wide = s.add(FLOAT, s.add(HALF, s.input(2, 3)))
    before = s.graph(s.add(Relu(), wide), s.add(Sigmoid(), wide))
    after, _ = optimized(before)
    widening = [n for n in after.nodes if widens_half(after, n)]
    assert len(widening) == 2 and all(after.sole_consumer(n.outputs[0]) is not None for n in widening)
