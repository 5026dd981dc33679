"""Small networks with the traits of real ones, as ONNX models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        fan_in = max(int(np.prod(shape[1:])), 1)
        array = self.rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(fan_in))
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, name: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> str:
        made = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, f"/{name}", **attributes))
        return name

    def conv(self, name: str, x: str, out: int, into: int, kernel: int = 3, **attributes: object) -> str:
        weights = self.weight(f"{name}.weight", out, into, kernel, kernel)
        bias = self.weight(f"{name}.bias", out)
        return self.node("Conv", name, [x, weights, bias], pads=[kernel // 2] * 4, **attributes)

    def model(
        self, inputs: dict[str, tuple[int, tuple[int, ...]]], outputs: dict[str, tuple[int, tuple[int, ...]]], name: str
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(n, *t) for n, t in inputs.items()],
            [helper.make_tensor_value_info(n, *t) for n, t in outputs.items()],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def residual_network(seed: int = 0) -> onnx.ModelProto:
    """Convolutions with batch normalisation, a residual, parallel branches that are joined, a classifier; 1x3x16x16."""
    b = _Builder(seed)
    x = b.conv("stem", "x", 8, 3, strides=[2, 2])
    scale = [b.constant(f"bn.{k}", np.abs(b.rng.standard_normal(8)).astype(np.float32) + 0.5) for k in "sbmv"]
    x = b.node("BatchNormalization", "bn", [x, *scale])
    x = b.node("Relu", "relu1", [x])
    y = b.conv("depthwise", x, 8, 1, group=8)
    y = b.node("Sigmoid", "gate", [y])
    y = b.conv("pointwise", y, 8, 8, 1)
    x = b.node("Add", "residual", [y, x])
    left = b.conv("left", x, 4, 8, 1)
    right = b.node("MaxPool", "pool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    right = b.conv("right", right, 6, 8)
    x = b.node("Concat", "joined", [left, right], axis=1)
    x = b.node("HardSwish", "swish", [x])
    x = b.node("GlobalAveragePool", "mean", [x])
    x = b.node("Flatten", "flat", [x])
    b.node("Gemm", "logits", [x, b.weight("fc.weight", 5, 10), b.weight("fc.bias", 5)], transB=1)
    b.node("Softmax", "probabilities", ["logits"], axis=1)
    outputs = {"probabilities": (TensorProto.FLOAT, (1, 5)), "logits": (TensorProto.FLOAT, (1, 5))}
    return b.model({"x": (TensorProto.FLOAT, (1, 3, 16, 16))}, outputs, "residual network")


def shuffle_network(seed: int = 1) -> onnx.ModelProto:
    """Split, channel shuffle, slices, transposes, an index output; input 2x8x6x6."""
    b = _Builder(seed)
    x = b.conv("stem", "x", 8, 8, 1)
    b.node("Split", "parts", [x], outputs=2, axis=1)
    right = b.conv("branch", "parts_1", 4, 4)
    right = b.node("Relu", "branch_relu", [right])
    x = b.node("Concat", "joined", ["parts_0", right], axis=1)
    x = b.node("Reshape", "grouped", [x, b.constant("grouped.shape", np.array([2, 2, 4, 6, 6]))])
    x = b.node("Transpose", "shuffled", [x], perm=[0, 2, 1, 3, 4])
    x = b.node("Reshape", "merged", [x, b.constant("merged.shape", np.array([2, 8, 6, 6]))])
    bounds = [b.constant(f"slice.{k}", np.array(v)) for k, v in (("s", [1, 1]), ("e", [6, 5]), ("a", [2, 3]))]
    x = b.node("Slice", "window", [x, *bounds])
    x = b.conv("head", x, 5, 8, 1)
    b.node("Transpose", "scores", [x], perm=[0, 2, 3, 1])
    b.node("ArgMax", "best", ["scores"], axis=3, keepdims=0)
    outputs = {"scores": (TensorProto.FLOAT, (2, 5, 4, 5)), "best": (TensorProto.INT64, (2, 5, 4))}
    return b.model({"x": (TensorProto.FLOAT, (2, 8, 6, 6))}, outputs, "shuffle network")


def two_inputs() -> onnx.ModelProto:
    """a @ b + bias and an integer sum; inputs a 4x6, b 6x3, n (int64) 4."""
    b = _Builder(2)
    b.node("MatMul", "product", ["a", "b"])
    b.node("Add", "y", ["product", b.weight("bias", 3)])
    b.node("Add", "m", ["n", b.constant("one", np.array([1], np.int64))])
    inputs = {
        "a": (TensorProto.FLOAT, (4, 6)),
        "b": (TensorProto.FLOAT, (6, 3)),
        "n": (TensorProto.INT64, (4,)),
    }
    return b.model(inputs, {"y": (TensorProto.FLOAT, (4, 3)), "m": (TensorProto.INT64, (4,))}, "two inputs")


NETWORKS = {"residual": residual_network, "shuffle": shuffle_network, "two-inputs": two_inputs}
