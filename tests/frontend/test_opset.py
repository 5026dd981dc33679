"""Every conversion that changes an operator's form, against ONNX Runtime on the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgesmith.errors import UnsupportedOp
from edgesmith.frontend import transfer
from edgesmith.frontend.limits import MAX_OPSET, MIN_OPSET
from edgesmith.frontend.worker import clean

from .onnx_models import assert_normal, build, feeds_for, run_model

RNG = np.random.default_rng(0)
SHAPE = (2, 4, 6, 6)
MATRIX = RNG.standard_normal((5, 144)).astype(np.float32)
CHANNEL = {name: RNG.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("scale", "bias", "mean", "var")}
GRID = RNG.uniform(-1, 1, (2, 5, 5, 2)).astype(np.float32)
EMPTY = np.zeros(0, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@dataclass(frozen=True)
class Case:
    """Nodes from ``x`` to ``u`` in the form of one opset."""

    opset: int
    nodes: tuple[NodeProto, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    elem_type: int = TensorProto.FLOAT

    def __str__(self) -> str:
        attributes = (f"{a.name}={helper.get_attribute_value(a)}" for node in self.nodes for a in node.attribute)
        kinds = "+".join(node.op_type for node in self.nodes)
        return f"{self.opset}-{kinds}-{'-'.join(attributes)}".replace(" ", "")[:90]

    def model(self) -> ModelProto:
        """Identity, the nodes, Identity: so that the tested nodes' values are inner ones."""
        nodes = [helper.make_node("Identity", ["x"], ["x0"]), *self.nodes, helper.make_node("Identity", ["u"], ["y"])]
        return build(nodes, {"x": SHAPE}, ["y"], self.constants, opset=self.opset, elem_type=self.elem_type)


def one(
    opsets: tuple[int, ...], op: str, extra: Mapping[str, np.ndarray] | None = None, **attributes: object
) -> Iterator[Case]:
    """One node with ``x`` and constants as inputs, in several opsets."""
    constants = extra or {}
    for opset in opsets:
        yield Case(opset, (helper.make_node(op, ["x0", *constants], ["u"], **attributes),), constants)


def resizing() -> Iterator[Case]:
    scales = floats(1, 1, 1.5, 1.7)
    for mode in ("nearest", "linear"):
        for factors in ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.5, 1.7]):
            yield from one((7, 8), "Upsample", mode=mode, scales=factors)
        yield from one((9,), "Upsample", {"s": scales}, mode=mode)
        yield from one((10,), "Resize", {"s": scales}, mode=mode)
        yield from one((10,), "Resize", {"s": floats(1, 1, 0.5, 0.6)}, mode=mode)
        yield from one((10,), "Resize", {"s": floats(1, 1, 1, 0.3)}, mode=mode)
    for rule in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        sized = {"roi": EMPTY, "s": EMPTY, "size": ints(2, 4, 9, 13)}
        yield from one((11, 12, 13), "Resize", sized, mode="linear", coordinate_transformation_mode=rule)
        for rounding in ("floor", "round_prefer_ceil", "round_prefer_floor"):
            options = {"coordinate_transformation_mode": rule, "nearest_mode": rounding}
            yield from one((11, 18), "Resize", {"roi": EMPTY, "s": scales}, mode="nearest", **options)
    yield from one((11,), "Resize", {"roi": EMPTY, "s": scales}, mode="cubic", cubic_coeff_a=-0.5)


def normalising() -> Iterator[Case]:
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        yield from one((7, 11, 12, 13), op)
        for axis in (0, 1, 2, 3):
            yield from one((7, 12, 13), op, axis=axis)
        yield from one((11, 13), op, axis=-2)
    yield from one((7, 9, 14, 15), "BatchNormalization", CHANNEL, epsilon=1e-3)
    parameters = {"scale": CHANNEL["scale"], "bias": CHANNEL["bias"]}
    yield from one((7, 22), "InstanceNormalization", parameters)
    yield from one((7, 13), "LRN", size=3)
    yield from one((21,), "GroupNormalization", parameters, num_groups=2)
    chain = [
        helper.make_node("GroupNormalization", [a, *parameters], [b], num_groups=2)
        for a, b in (("x0", "v"), ("v", "u"))
    ]
    yield Case(21, tuple(chain), parameters)
    yield from one((17,), "LayerNormalization", {"g": np.ones(6, np.float32)}, axis=-1)


def clipping_and_padding() -> Iterator[Case]:
    pads = [0, 0, 1, 2, 0, 0, 3, 4]
    for limits in ({"min": -0.5, "max": 0.5}, {"max": 0.5}, {"min": 0.5}, {}):
        yield from one((7, 10), "Clip", **limits)
        node = helper.make_node("Clip", ["x0"], ["u"], **limits)
        yield Case(10, (node,), elem_type=TensorProto.FLOAT16)
    yield from one((11, 13), "Clip", {"low": np.float32(-0.5), "high": np.float32(0.5)})
    for mode in ("constant", "reflect", "edge"):
        yield from one((7, 10), "Pad", pads=pads, mode=mode)
        yield from one((11, 18), "Pad", {"p": ints(*pads)}, mode=mode)
    yield from one((7,), "Pad", pads=pads, value=1.5)
    yield from one((7,), "Pad", pads=[0, 0, -1, 2, 0, 0, 3, -1])
    yield Case(10, (helper.make_node("Pad", ["x0"], ["u"], pads=pads, value=1.5),), elem_type=TensorProto.FLOAT16)


def shaping() -> Iterator[Case]:
    squeezed = [
        helper.make_node("Unsqueeze", ["x0"], ["v"], axes=[0, 3]),
        helper.make_node("Squeeze", ["v"], ["u"], axes=[3]),
    ]
    all_squeezed = [squeezed[0], helper.make_node("Squeeze", ["v"], ["u"])]
    for opset in (7, 11, 12):
        yield Case(opset, tuple(squeezed))
        yield Case(opset, tuple(all_squeezed))
        yield Case(opset, (helper.make_node("Split", ["x0"], ["u", "u2"], axis=1, split=[1, 3]),))
    for opset in (7, 11, 13, 17):
        yield Case(opset, (helper.make_node("Split", ["x0"], ["u", "u2"], axis=1),))
    yield Case(13, (helper.make_node("Split", ["x0", "z"], ["u", "u2"], axis=1),), {"z": ints(1, 3)})
    yield from one((7, 9), "Slice", starts=[1, 0], ends=[3, -1], axes=[1, 3])
    yield from one((7,), "Slice", starts=[1, 0], ends=[3, -1])
    yield from one((10, 11), "Slice", {"a": ints(5), "b": ints(-100), "c": ints(2), "d": ints(-2)})
    yield from one((7, 13, 14, 19), "Reshape", {"z": ints(0, -1)})
    yield from one((7, 13), "Tile", {"z": ints(1, 2, 1, 1)})
    yield from one((7, 11, 13), "Gather", {"z": ints(1, 2)}, axis=1)
    yield from one((7, 13), "DepthToSpace", blocksize=2)
    yield from one((7, 13, 21), "Transpose", perm=[0, 2, 3, 1])
    yield from one((7, 9, 13), "Flatten", axis=2)
    yield from one((8, 13), "Expand", {"z": ints(2, 2, 4, 6, 6)})


def pooling_and_reducing() -> Iterator[Case]:
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    for opset in (7, 10, 12, 18, 19):
        for ceil in ({"ceil_mode": 0}, {"ceil_mode": 1}) if opset >= 10 else ({},):
            yield from one((opset,), "MaxPool", **window, pads=[0, 1, 1, 0], **ceil)
            for count in (0, 1):
                yield from one((opset,), "AveragePool", **window, pads=[1, 0, 0, 1], count_include_pad=count, **ceil)
    yield from one((7, 12, 18), "LpPool", kernel_shape=[2, 2])
    for op in (
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceProd",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ):
        yield from one((7, 11, 13, 17), op, axes=[2, 3], keepdims=0)
        yield from one((7, 17), op)
    yield from one((7, 12), "ReduceSum", axes=[3])
    yield from one((7, 12), "ReduceSum")
    yield Case(7, (helper.make_node("TopK", ["x0"], ["u", "i"], k=2, axis=1),))
    yield Case(10, (helper.make_node("TopK", ["x0", "k"], ["u", "i"], axis=1),), {"k": ints(2)})


def computing() -> Iterator[Case]:
    flat = helper.make_node("Flatten", ["x0"], ["f"])
    for opset in (7, 9, 11, 13):
        node = helper.make_node("Gemm", ["f", "w", "c"], ["u"], transB=1)
        yield Case(opset, (flat, node), {"w": MATRIX, "c": np.ones(5, np.float32)})
    kernel = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
    yield from one((7, 11), "ConvTranspose", {"w": kernel}, strides=[2, 2], output_padding=[1, 1])
    yield from one((7, 9, 16), "PRelu", {"s": np.full((4, 1, 1), 0.2, np.float32)})
    yield from one((8, 13), "Max", {"m": floats(0.1)})
    yield from one((7, 12, 13, 15), "Pow", {"e": np.float32(2)})
    for op in ("Elu", "Selu", "LeakyRelu", "HardSigmoid", "Softplus", "Softsign", "ThresholdedRelu"):
        yield from one((10,), op)
    yield from one((14,), "HardSwish")
    yield from one((18,), "Mish")
    yield from one((20,), "Gelu", approximate="tanh")
    for ratio in ({}, {"ratio": 0.3}):
        yield from one((7, 10, 11), "Dropout", **ratio)
    yield Case(11, (helper.make_node("Dropout", ["x0"], ["u", "mask"]),))
    for mode in ("bilinear", "nearest", "bicubic"):
        yield from one((16,), "GridSample", {"g": GRID}, mode=mode)
    indices, updates = np.zeros((1, 1, 1, 1), np.int64), np.ones((1, 1, 1, 1), np.float32)
    yield from one((9,), "Scatter", {"i": indices, "v": updates}, axis=1)
    quantise = helper.make_node("QuantizeLinear", ["x0", "s", "z"], ["q"])
    dequantise = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["u"])
    for opset in (10, 13, 19, 21):
        yield Case(opset, (quantise, dequantise), {"s": np.float32(0.1), "z": np.uint8(3)})
    for op, gates in (("LSTM", 4), ("GRU", 3)):
        rows = helper.make_node("Reshape", ["x0", "rows"], ["r"])
        node = helper.make_node(op, ["r", "w", "rec"], ["u"], hidden_size=3)
        constants = {
            name: RNG.standard_normal((1, 3 * gates, n)).astype(np.float32) for name, n in (("w", 6), ("rec", 3))
        }
        for opset in (7, 14):
            yield Case(opset, (rows, node), {"rows": ints(8, 6, 6), **constants})


CASES = [
    *resizing(),
    *normalising(),
    *clipping_and_padding(),
    *shaping(),
    *pooling_and_reducing(),
    *computing(),
]


def cleaned(model: ModelProto, folder: Path) -> ModelProto:
    """``normalize`` within this process."""
    transfer.write(clean(model.SerializeToString(), folder=None, shapes={}, bindings=[]), folder)
    return transfer.read(folder)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conversion_computes_the_same(case: Case, tmp_path: Path) -> None:
    model = case.model()
    result = cleaned(model, tmp_path)
    assert_normal(result)
    feeds = feeds_for(model)
    expected, actual = run_model(model, feeds)[0], run_model(result, feeds)[0]
    assert actual.dtype == expected.dtype
    tolerance = 8 * float(np.finfo(expected.dtype).eps)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    values = {name for node in result.graph.node for name in node.output}
    assert "u" in values, "the tested node's value lost its name"


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_training_outputs_are_refused(opset: int, tmp_path: Path) -> None:
    node = helper.make_node("BatchNormalization", ["x0", *CHANNEL], ["u", "m2", "v2", "sm", "sv"], name="norm")
    with pytest.raises(UnsupportedOp, match=r"norm.*training"):
        cleaned(Case(opset, (node,), CHANNEL).model(), tmp_path)


def test_per_activation_normalisation_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("BatchNormalization", ["x0", *CHANNEL], ["u"], spatial=0)
    with pytest.raises(UnsupportedOp, match="spatial"):
        cleaned(Case(7, (node,), CHANNEL).model(), tmp_path)


@pytest.mark.parametrize(
    ("opset", "op", "constants"),
    [
        (10, "Upsample", {"s": floats(1, 1, 2, 2)}),
        (18, "GroupNormalization", {"g": floats(1, 2), "b": floats(3, 4)}),
        (10, "Resize", {"s": floats(1, 1, 0.5, 2)}),
        (11, "Mish", {}),
    ],
)
def test_unconvertible_operators_are_named(
    opset: int, op: str, constants: dict[str, np.ndarray], tmp_path: Path
) -> None:
    case = next(one((opset,), op, constants))
    case.nodes[0].name = "culprit"
    with pytest.raises(UnsupportedOp, match="culprit"):
        cleaned(case.model(), tmp_path)


@pytest.mark.parametrize("opset", range(MIN_OPSET, MAX_OPSET + 1))
def test_every_opset(opset: int, tmp_path: Path) -> None:
    model = Case(opset, (helper.make_node("Relu", ["x0"], ["u"], name="relu"),)).model()
    result = cleaned(model, tmp_path)
    assert_normal(result)
    assert [node.op_type for node in result.graph.node] == ["Identity", "Relu", "Identity"]
    assert result.graph.node[1].name == "relu"
