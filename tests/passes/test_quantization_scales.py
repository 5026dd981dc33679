"""Scales of QuantizeLinear in what it quantises, and superfluous clips."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, Op
from edgesmith.ops import OPS
from edgesmith.ops.add import Add
from edgesmith.ops.clip import Clip
from edgesmith.ops.conv import Conv
from edgesmith.ops.mul import Mul
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.rectifiers import LeakyRelu
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.sub import Sub
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.passes.engine import Skipped
from edgesmith.passes.quantization_scales import fold_scales

from .graphs import kinds
from .quantized import QuantizedSketch, integers

RULE = frozenset(("quantization-scales",))
POINTWISE = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))


def scales(graph: Graph) -> list[float]:
    """Of the quantisers that do not read a graph input."""
    nodes = [n for n in graph.nodes if n.op.name == "QuantizeLinear" and n.inputs[0] not in graph.inputs]
    return [graph.constants[n.inputs[1]].item() for n in nodes]


def after_inputs(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes if n.inputs[0] not in graph.inputs]


@pytest.mark.parametrize("op", [Relu(), LeakyRelu(0.1), Clip(-0.7, 2.5), Clip(None, 1.0)], ids=str)
def test_scale_goes_through_operators_of_one_operand(op: Op) -> None:
    s = QuantizedSketch()
    y = s.q(s.add(op, s.activation(2, 5, scale=0.05)), 0.021, 100)
    result, _ = integers(s.graph(y), only=RULE)
    assert scales(result) == [1.0]
    assert after_inputs(result) == ["DequantizeLinear", op.name, "QuantizeLinear"]


@pytest.mark.parametrize("op", [Add(), Sub()], ids=str)
def test_scale_goes_into_both_operands_of_a_sum(op: Op) -> None:
    s = QuantizedSketch()
    y = s.add(op, s.activation(2, 5, scale=0.05), s.activation(2, 5, scale=0.03))
    result, _ = integers(s.graph(s.q(s.add(Relu(), y), 0.04, 0)))
    assert scales(result) == [1.0]
    assert "Mul" not in kinds(result)


def test_one_value_added_to_itself() -> None:
    s = QuantizedSketch()
    x = s.add(Relu(), s.activation(2, 5))
    result, _ = integers(s.graph(s.q(s.add(Add(), x, x), 0.04, 7)), only=RULE)
    assert scales(result) == [1.0] and "Mul" not in kinds(result)


def test_product_of_two_values_divides_one() -> None:
    s = QuantizedSketch()
    gate = s.add(OPS["Sigmoid"](), s.activation(2, 5, 1, 1))
    result, _ = integers(s.graph(s.q(s.add(Mul(), gate, s.activation(2, 5, 4, 4)), 0.02, 99)), only=RULE)
    assert scales(result) == [1.0]
    assert kinds(result).count("Mul") == 1


def test_square_is_multiplied_by_the_reciprocal() -> None:
    s = QuantizedSketch()
    x = s.activation(2, 5)
    result, _ = integers(s.graph(s.q(s.add(Mul(), x, x), 0.02, 99)), only=RULE)
    assert scales(result) == [1.0] and kinds(result).count("Mul") == 2


def test_factors_become_one() -> None:
    s = QuantizedSketch()
    x = s.activation(1, 3, 6, 6)
    y = s.add(Relu(), s.add(Conv(POINTWISE), x, s.weights(4, 3, 1, 1)))
    result, _ = integers(s.graph(s.q(y, 0.1, 10)))
    assert kinds(result)[-4:] == ["Cast", "Mul", "Relu", "QuantizeLinear"]
    assert scales(result) == [1.0]


def test_waits_for_products_and_movement_before_it() -> None:
    s = QuantizedSketch()
    x = s.add(Reshape((1, 3, 6, 6)), s.activation(1, 108))
    y = s.add(Add(), s.add(Relu(), s.add(Conv(POINTWISE), x, s.weights(3, 3, 1, 1))), s.add(LeakyRelu(0.5), x))
    graph = s.graph(s.q(y, 0.1, 10))
    result, _ = integers(graph)
    assert kinds(result).count("Mul") == 1 and scales(result) == [1.0]
    left = optimize(graph, RULE)[1].skipped.values()
    assert any("about to become integers" in reason for reason in left)


def test_value_that_others_read_keeps_its_scale() -> None:
    s = QuantizedSketch()
    y = s.add(Conv(POINTWISE), s.activation(1, 3, 6, 6), s.weights(4, 3, 1, 1))
    result, _ = integers(s.graph(s.q(y, 0.1, 128), s.add(OPS["Sigmoid"](), y)))
    assert kinds(result).count("ConvInteger") == 1
    assert scales(result) == [1.0] and kinds(result).count("Mul") == 2


def test_two_quantisers_of_one_value() -> None:
    s = QuantizedSketch()
    y = s.add(Relu(), s.activation(2, 5))
    result, _ = integers(s.graph(s.q(y, 0.1, 0), s.q(y, 0.03, 20)), only=RULE)
    assert scales(result) == [1.0, 1.0]


def test_operands_that_cannot_be_divided_stay_whole() -> None:
    """One operand of the product leads to a sum of which only one side is a multiplication."""
    s = QuantizedSketch()
    half = s.add(Add(), s.activation(2, 5), s.add(OPS["Tanh"](), s.input(2, 5)))
    result, _ = integers(s.graph(s.q(s.add(Mul(), half, s.add(OPS["Exp"](), s.input(2, 5))), 0.1, 128)), only=RULE)
    assert scales(result) == [1.0]


@pytest.mark.parametrize(
    ("clip", "zero", "scale", "goes"),
    [
        (Relu(), 0, 0.02, True),
        (Relu(), 1, 0.02, False),
        (Clip(0.0, 6.0), 0, 6 / 255, True),
        (Clip(0.0, 6.0), 0, 7 / 255, False),
        (Clip(0.0, 6.0), 128, 0.01, False),
        (Clip(-2.0, None), 100, 0.02, True),
        (Clip(None, 3.1), 100, 0.02, True),
        (Clip(None, 3.0), 100, 0.02, False),
    ],
    ids=str,
)
def test_clips_within_the_integers_go(clip: Op, zero: int, scale: float, goes: bool) -> None:
    s = QuantizedSketch()
    y = s.add(clip, s.add(Conv(POINTWISE), s.activation(1, 3, 6, 6), s.weights(4, 3, 1, 1)))
    result, _ = integers(s.graph(s.q(y, scale, zero)))
    assert (clip.name not in kinds(result)) == goes


def test_clip_that_others_read_stays() -> None:
    s = QuantizedSketch()
    y = s.add(Relu(), s.activation(2, 5))
    result, _ = integers(s.graph(s.q(y, 0.02, 0), s.add(OPS["Sigmoid"](), y)), only=RULE)
    assert "Relu" in kinds(result)


def test_moved_values_and_graph_inputs_keep_their_quantiser() -> None:
    s = QuantizedSketch()
    moved = s.add(Reshape((10,)), s.add(OPS["Sigmoid"](), s.input(2, 5)))
    result, _ = integers(
        s.graph(s.q(moved, 0.02, 0), s.add(OPS["Sigmoid"](), moved), s.q(s.input(3), 0.3, 5)), only=RULE
    )
    assert [result.constants[n.inputs[1]].item() for n in result.nodes if n.op.name == "QuantizeLinear"] == [
        pytest.approx(0.02),
        pytest.approx(0.3),
    ]


def test_scale_too_small_to_divide_by() -> None:
    s = QuantizedSketch()
    y = s.add(Mul(), s.add(OPS["Sigmoid"](), s.input(2, 5)), s.constant(1e30))
    result, _ = integers(s.graph(s.q(y, 1e-20, 0)), only=RULE)
    assert all(np.isfinite(a).all() for a in result.constants.values())


@pytest.mark.parametrize(
    ("scale", "reason"),
    [(None, "run time"), (0.0, "its scale is 0"), (np.inf, "its scale is inf"), (-0.5, "its scale is -0.5")],
)
def test_reasons(scale: float | None, reason: str) -> None:
    s = QuantizedSketch()
    given = s.input(1) if scale is None else s.constant(scale)
    y = s.add(QuantizeLinear(DType.U8), s.add(Relu(), s.input(2, 5)), given)
    (left,) = [found for found in fold_scales(s.graph(y)) if isinstance(found, Skipped)]
    assert reason in left.reason


def test_names_are_unique_when_one_value_is_divided_twice() -> None:
    s = QuantizedSketch()
    x = s.activation(2, 5)
    outputs = [s.q(s.add(Add(), x, s.activation(2, 5)), f, 128) for f in (0.1, 0.07)]
    result, _ = integers(s.graph(*outputs), only=RULE)
    names = [n.name for n in result.nodes]
    assert len(names) == len(set(names)) and isinstance(result.nodes[0], Node)
