"""Models quantised by ONNX Runtime, in every format that it writes, compiled and compared with its own results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization as ort_quantization
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType

import edgesmith
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.toolchain

MATERIAL = Path(__file__).parents[2] / "shared" / "material" / "models"
SHAPE = (1, 3, 16, 16)
U8, I8 = QuantType.QUInt8, QuantType.QInt8


def network() -> onnx.ModelProto:
    """A small network with one of everything that ONNX Runtime quantises."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {"low": np.float32(0), "high": np.float32(6)}
    nodes: list[onnx.NodeProto] = []

    def w(name: str, *shape: int) -> str:
        weights[name] = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        return name

    def add(kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], f"/{name}", **attributes))
        return name

    x = add("Relu", [add("Conv", ["x", w("w0", 8, 3, 3, 3), w("b0", 8)], "conv", pads=[1] * 4)], "relu")
    pooled = add("MaxPool", [x], "maximum", kernel_shape=[2, 2], strides=[2, 2])
    x = add("Conv", [pooled, w("w1", 8, 1, 3, 3), w("b1", 8)], "depthwise", pads=[1] * 4, group=8)
    x = add("Conv", [add("Clip", [x, "low", "high"], "clip"), w("w2", 8, 8, 1, 1)], "pointwise")
    x = add("Add", [pooled, x], "residual")
    x = add("Mul", [x, add("Sigmoid", [x], "sigmoid")], "swish")
    x = add("AveragePool", [add("Concat", [x, pooled], "concat", axis=1)], "mean", kernel_shape=[3, 3], pads=[1] * 4)
    x = add("Conv", [x, w("w3", 12, 16, 3, 3), w("b3", 12)], "strided", strides=[2, 2])
    x = add("GlobalAveragePool", [add("LeakyRelu", [x], "leaky", alpha=0.1)], "pool")
    x = add("Gemm", [add("Flatten", [x], "flat"), w("w4", 10, 12), w("b4", 10)], "dense", transB=1)
    y = add("Softmax", [add("MatMul", [x, w("w5", 10, 6)], "product")], "y")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, (1, 6))],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def image(seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)}


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.left = iter([image(seed) for seed in range(8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


@dataclass(frozen=True)
class Static:
    format: QuantFormat
    activations: QuantType
    weights: QuantType
    per_channel: bool = False
    reduce_range: bool = False
    symmetric: bool = False

    def __str__(self) -> str:
        flags = [name for name in ("per_channel", "reduce_range", "symmetric") if getattr(self, name)]
        return "-".join((self.format.name, self.activations.name, self.weights.name, *flags))

    def write(self, source: Path, target: Path) -> None:
        options = {"ActivationSymmetric": self.symmetric, "WeightSymmetric": self.symmetric or self.weights is I8}
        ort_quantization.quantize_static(
            source,
            target,
            _Images(),
            quant_format=self.format,
            activation_type=self.activations,
            weight_type=self.weights,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            extra_options=options,
        )


STATIC = [
    Static(form, *kinds)
    for form in (QuantFormat.QDQ, QuantFormat.QOperator)
    for kinds in ((U8, I8, True, True), (U8, U8), (I8, I8, form is QuantFormat.QDQ, False, True))
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(network(), path)
    return path


def compare(
    model: Path, folder: Path, feeds: list[Mapping[str, np.ndarray]], tolerance: float, **options: object
) -> set[str]:
    """Compile, verify layer by layer, and compare with ONNX Runtime; returns the kernels."""
    artifact = edgesmith.compile(model, output=folder / "artifact", tune="off", cache=False, **options)
    oracle = Oracle(str(model), optimized=False)
    for given in feeds:
        (want,) = oracle.run(given).values()
        got = np.asarray(artifact(*given.values()), np.float64)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= tolerance
    return {step["kernel"] for step in artifact.manifest["steps"]}


@pytest.mark.parametrize("how", STATIC, ids=str)
def test_static(how: Static, source: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    how.write(source, model)
    # Seven layers from the input to the result, in which a tie may turn by one step of 1 / 255.
    kernels = compare(model, tmp_path, [image(seed) for seed in (90, 91, 92)], 7 / 255)
    assert {"integer-tiles", "integer-depthwise"} <= kernels


@pytest.mark.parametrize(("weights", "per_channel"), [(I8, True), (U8, False)])
def test_dynamic(weights: QuantType, per_channel: bool, source: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    # Beyond 7 bits, ONNX Runtime's sums of pairs saturate on processors without VNNI.
    ort_quantization.quantize_dynamic(source, model, per_channel=per_channel, reduce_range=True, weight_type=weights)
    kernels = compare(model, tmp_path, [image(seed) for seed in (90, 91, 92)], 1e-3)
    assert {"integer-tiles", "integer-depthwise"} <= kernels


@pytest.mark.material
@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("kws/kws_ref_model_int8.tf2onnx_qdq.onnx", (1, 49, 10, 1)),
        ("kws_qdq/micro_kws_m_static_qdq.onnx", (1, 1960)),
    ],
)
def test_shared_models(path: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    model = MATERIAL / path
    if not model.exists():
        pytest.skip("the shared material is not beside the checkout")
    (declared,) = onnx.load(model).graph.input
    dtype = helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
    rng = np.random.default_rng(4)
    draw = rng.integers(-128, 128, (4, *shape)) if np.dtype(dtype).kind == "i" else rng.standard_normal((4, *shape))
    feeds = [{declared.name: values.astype(dtype)} for values in draw]
    # A logit that turns by its step, 0.145, changes probabilities by up to a quarter of that, in steps of 1 / 256.
    tolerance = 0.145 / 4 * (256 if np.dtype(dtype).kind == "i" else 1) + 1 / 255
    kernels = compare(model, tmp_path, feeds, tolerance, shapes={declared.name: shape})
    assert "integer-tiles" in kernels
