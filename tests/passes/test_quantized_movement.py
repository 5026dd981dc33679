"""Operators that move elements on integers instead of floats."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Op
from edgesmith.ops import OPS
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.gather import Take
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pad import Pad
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.reductions import ReduceMean
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.resize import NearestResize
from edgesmith.ops.sampling import Sampling
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.tile import Tile
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.passes.engine import Skipped
from edgesmith.passes.quantized_movement import quantized_movement

from .graphs import kinds
from .quantized import QuantizedSketch, integers

RULE = frozenset(("quantized-movement", "common-subexpressions", "dead-code"))
WINDOW = Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
MOVES: dict[str, Op] = {
    "reshape": Reshape((2, 16, 9)),
    "transpose": Transpose((0, 2, 3, 1)),
    "slice": Slice((0, 1, 5, 0), (2, 2, 3, 3), (1, 1, -2, 1)),
    "take": Take(1, (2, 0), (2,)),
    "tile": Tile((1, 2, 1, 1)),
    "nearest": NearestResize(Sampling(sizes=(2, 4, 9, 12))),
    "edge": Pad((0, 0, 1, 0), (0, 0, 0, 2), "edge"),
    "zeros": Pad((0, 0, 1, 0), (0, 0, 0, 2)),
    "crop": Pad((0, 0, -1, 0), (0, 0, 0, -2)),
    "maximum": MaxPool(WINDOW),
}


def moved_types(graph: Graph, *names: str) -> set[DType]:
    """Types of what the operators of these names read."""
    return {graph.type(v).dtype for n in graph.nodes if n.op.name in names for v in n.read}


@pytest.mark.parametrize("kind", [DType.U8, DType.I8])
@pytest.mark.parametrize("op", MOVES.values(), ids=MOVES)
def test_quantiser_goes_before_movement(op: Op, kind: DType) -> None:
    s = QuantizedSketch(kind=kind)
    y = s.q(s.add(op, s.add(OPS["Sigmoid"](), s.input(2, 4, 6, 6))), 1 / 255, -128 if kind is DType.I8 else 0)
    result, _ = integers(s.graph(y), only=RULE)
    assert kinds(result) == ["Sigmoid", "QuantizeLinear", op.name]


@pytest.mark.parametrize("op", MOVES.values(), ids=MOVES)
def test_dequantiser_goes_behind_movement(op: Op) -> None:
    s = QuantizedSketch()
    y = s.add(OPS["Sigmoid"](), s.add(op, s.activation(2, 4, 6, 6)))
    result, _ = integers(s.graph(y), only=RULE)
    assert kinds(result) == ["QuantizeLinear", op.name, "DequantizeLinear", "Sigmoid"]


@pytest.mark.parametrize("op", MOVES.values(), ids=MOVES)
def test_there_and_back_is_nothing(op: Op) -> None:
    s = QuantizedSketch()
    y = s.q(s.add(op, s.activation(2, 4, 6, 6, scale=0.05, zero=99)), 0.05, 99)
    result, _ = integers(s.graph(y), only=RULE)
    assert kinds(result) == ["QuantizeLinear", op.name]


def test_graph_output_that_was_an_input() -> None:
    s = QuantizedSketch()
    y = s.q(s.dq(s.input(2, 5, dtype=DType.U8), 0.05, 7), 0.05, 7)
    graph = s.graph(y)
    result, _ = optimize(graph, RULE)
    assert kinds(result) == ["Identity"]
    feeds = {graph.inputs[0]: np.arange(10, dtype=np.uint8).reshape(2, 5)}
    np.testing.assert_array_equal(result.reference(feeds)[y], graph.reference(feeds)[y])


def test_crop_that_extrapolates_stays() -> None:
    s = QuantizedSketch()
    crop = Sampling(
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=0.4,
        roi=(0, 0, -0.2, 0, 1, 1, 1, 1.3),
        sizes=(1, 2, 5, 5),
    )
    result, _ = integers(s.graph(s.q(s.add(NearestResize(crop), s.activation(1, 2, 4, 4)), 0.05, 128)), only=RULE)
    assert moved_types(result, "Resize", "NearestResize") == {DType.F32}


def test_other_parameters_requantise() -> None:
    s = QuantizedSketch()
    result, _ = integers(s.graph(s.q(s.activation(2, 5, zero=99), 0.07, 99)))
    assert kinds(result) == ["QuantizeLinear", "DequantizeLinear", "QuantizeLinear"]


def test_concat_of_different_scales_requantises_each() -> None:
    s = QuantizedSketch()
    parts = [s.activation(1, n, 4, 4, scale=f) for n, f in ((2, 0.05), (3, 0.05), (4, 0.02))]
    result, _ = integers(s.graph(s.q(s.add(Concat(1), *parts), 0.05, 128)))
    assert moved_types(result, "Concat") == {DType.U8}
    assert kinds(result).count("DequantizeLinear") == 1


def test_concat_of_different_scales_stays_without_a_quantiser() -> None:
    s = QuantizedSketch()
    parts = [s.activation(1, 2, 4, 4, scale=f) for f in (0.05, 0.02)]
    result, _ = integers(s.graph(s.add(OPS["Sigmoid"](), s.add(Concat(1), *parts))), only=RULE)
    assert moved_types(result, "Concat") == {DType.F32}


def test_split() -> None:
    s = QuantizedSketch()
    x = s.add(OPS["Sigmoid"](), s.input(1, 6, 4, 4))
    a, b = s.all(Split(1, (2, 4)), x)
    result, _ = integers(s.graph(s.q(a, 1 / 255, 0), s.q(b, 1 / 255, 0)), only=RULE)
    assert kinds(result) == ["Sigmoid", "QuantizeLinear", "Split"]
    s = QuantizedSketch()
    a, b = s.all(Split(1, (2, 4)), s.activation(1, 6, 4, 4))
    result, _ = integers(s.graph(s.add(OPS["Sigmoid"](), a), s.q(b, 0.05, 128)), only=RULE)
    assert moved_types(result, "Split") == {DType.U8}


def test_two_equal_quantisers_become_one() -> None:
    s = QuantizedSketch()
    moved = s.add(Reshape((10,)), s.add(OPS["Sigmoid"](), s.input(2, 5)))
    outputs = [s.add(OPS["Sigmoid"](), s.qdq(moved, 0.05)) for _ in range(2)]
    result, _ = integers(s.graph(*outputs), only=RULE)
    assert kinds(result).count("QuantizeLinear") == 1


@pytest.mark.parametrize("case", ["output", "other reader", "other scale", "two outputs"])
def test_quantiser_stays_behind(case: str) -> None:
    s = QuantizedSketch()
    moved = s.add(Reshape((10,)), s.add(OPS["Sigmoid"](), s.input(2, 5)))
    outputs = [s.q(moved, 0.05, 3)]
    if case == "output":
        outputs.append(moved)
    elif case == "other reader":
        outputs.append(s.add(OPS["Exp"](), moved))
    else:
        outputs.append(s.q(moved, 0.05 if case == "two outputs" else 0.02, 3))
    only = frozenset(("quantized-movement",))
    result, _ = integers(s.graph(*outputs), only=only)
    assert moved_types(result, "Reshape") == {DType.F32}


def test_fill_that_is_no_number_of_the_quantiser() -> None:
    s = QuantizedSketch()
    pad = Pad((0, 0, 1, 1), (0, 0, 1, 1), value=np.float32(0.26))
    y = s.add(pad, s.activation(1, 2, 4, 4))
    result, _ = integers(s.graph(s.add(OPS["Sigmoid"](), y)), only=RULE)
    assert moved_types(result, "Pad") == {DType.F32}
    result, _ = integers(s.graph(s.q(y, 0.05, 128)), only=RULE)
    assert moved_types(result, "Pad") == {DType.U8}
    assert next(n.op.value for n in result.nodes if n.op.name == "Pad") == 128 + 5


def test_pad_goes_into_an_integer_convolution() -> None:
    s = QuantizedSketch()
    x = s.add(Pad((0, 0, 0, 0), (0, 0, 1, 1)), s.activation(1, 3, 7, 7, zero=77))
    window = Window((3, 3), (2, 2), (0, 0), (0, 0), (1, 1))
    result, _ = integers(s.graph(s.q(s.add(Conv(window), x, s.weights(4, 3, 3, 3)), 0.1, 128)))
    assert "Pad" not in kinds(result) and "ConvInteger" in kinds(result)


def test_maximum_of_16_bits() -> None:
    s = QuantizedSketch(kind=DType.I16)
    y = s.q(s.add(MaxPool(WINDOW), s.activation(1, 2, 6, 6, zero=3)), 0.05, 3)
    result, _ = integers(s.graph(y), only=RULE)
    assert moved_types(result, "MaxPool") == {DType.I16}


@pytest.mark.parametrize(
    "op",
    [
        GlobalAveragePool(),
        ReduceMean((2, 3)),
        ReduceMean((1,)),
        AveragePool(WINDOW),
        AveragePool(WINDOW, 1),
        AveragePool(Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))),
    ],
    ids=str,
)
def test_averages_sum_integers(op: Op) -> None:
    s = QuantizedSketch()
    x = s.activation(1, 6, 7, 7, zero=77)
    result, _ = integers(s.graph(s.q(s.add(op, x), 0.013, 50)))
    assert kinds(result)[-3:] == [kinds(result)[-3], "Mul", "QuantizeLinear"]
    back = next(n for n in result.nodes if n.op.name == "DequantizeLinear")
    assert result.constants[back.inputs[1]] == 1


def test_sum_too_long_for_f32() -> None:
    s = QuantizedSketch()
    graph = s.graph(s.q(s.add(ReduceMean((1,)), s.activation(1, 200_000)), 0.05, 128))
    (left,) = [found for found in quantized_movement(graph) if isinstance(found, Skipped)]
    assert "may not be exact" in left.reason
    assert isinstance(graph.nodes[-1].op, QuantizeLinear)


def test_scales_of_an_axis_move_with_it() -> None:
    for op, axis in ((Transpose((2, 0, 1)), 1), (Reshape((4, 3, 4)), 0), (Reshape((2, 4, 6)), None)):
        s = QuantizedSketch()
        weights = s.add(op, s.weights(4, 2, 6, axis=0))
        result, _ = integers(s.graph(s.add(OPS["Mul"](), s.input(*s.types[weights].shape), weights)), only=RULE)
        back = next(n for n in result.nodes if n.op.name == "DequantizeLinearByAxis")
        assert back.op.axis == (0 if axis is None else axis)
        assert (result.producer(back.inputs[0]) is None) == (axis is None)
