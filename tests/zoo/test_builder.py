"""The calibration batch that the builder computes is what ONNX Runtime computes from the emitted nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest

from edgesmith.errors import BadInput
from edgesmith.zoo.builder import PROBE_BATCH, Builder, Value

LAYERS: dict[str, Callable[[Builder, Value], Value]] = {
    "conv": lambda n, x: n.conv(x, 5, 3),
    "conv strided same": lambda n, x: n.conv(x, 5, 3, stride=2, padding="same"),
    "conv grouped dilated": lambda n, x: n.conv(x, 12, 3, groups=3, dilation=2),
    "conv depthwise": lambda n, x: n.conv(x, 6, 5, stride=2, groups=6, bias=False),
    "conv row": lambda n, x: n.conv(x, 4, (1, 7), gain=2.0),
    "conv uncentred": lambda n, x: n.conv(x, 4, 1, centre=False),
    "conv whole picture": lambda n, x: n.conv(x, 6, 15, padding=0, groups=6),
    "conv_transpose": lambda n, x: n.conv_transpose(x, 4, 2),
    "fc": lambda n, x: n.fc(n.flatten(x), 9),
    "batch_norm": lambda n, x: n.batch_norm(x, spread=3.0),
    "prelu": lambda n, x: n.prelu(x),
    "relu": lambda n, x: n.relu(x),
    "relu6": lambda n, x: n.relu6(x),
    "leaky_relu": lambda n, x: n.leaky_relu(x),
    "tanh": lambda n, x: n.tanh(x),
    "sigmoid": lambda n, x: n.sigmoid(x),
    "swish": lambda n, x: n.swish(x),
    "hard_sigmoid": lambda n, x: n.hard_sigmoid(x),
    "hard_swish": lambda n, x: n.hard_swish(x),
    "exp": lambda n, x: n.exp(x),
    "lrn": lambda n, x: n.lrn(x),
    "max_pool": lambda n, x: n.max_pool(x, 3, 2, padding=1),
    "max_pool ceil": lambda n, x: n.max_pool(x, 2, 2, ceil=True),
    "max_pool one side": lambda n, x: n.max_pool(x, 2, 1, padding=(0, 0, 1, 1)),
    "avg_pool": lambda n, x: n.avg_pool(x, 3, 2, padding=1),
    "avg_pool without padding": lambda n, x: n.avg_pool(x, 3, 1, padding=1, include_pad=False),
    "global_avg_pool": lambda n, x: n.global_avg_pool(x),
    "resize": lambda n, x: n.resize(x, 2),
    "add": lambda n, x: n.add(x, n.relu(x)),
    "sub": lambda n, x: n.sub(x, n.relu(x)),
    "mul": lambda n, x: n.mul(x, n.global_avg_pool(x)),
    "concat": lambda n, x: n.concat([x, n.relu(x)]),
    "split": lambda n, x: n.split(x, (2, 4))[1],
    "take_channels": lambda n, x: n.take_channels(x, 4),
    "channel_shuffle": lambda n, x: n.channel_shuffle(x, 3),
    "transpose": lambda n, x: n.transpose(x, (0, 2, 3, 1)),
}

SIZE = 15


@pytest.mark.parametrize("name", LAYERS)
def test_calibration_batch_agrees_with_onnx_runtime(name: str) -> None:
    builder = Builder("net", seed=0)
    x = builder.input("input", (PROBE_BATCH, 6, SIZE, SIZE), SIZE)
    y = LAYERS[name](builder, x)
    model = builder.model({"output": y})
    onnx.checker.check_model(model, full_check=True)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == list(y.shape)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": x.batch.astype(np.float32)})
    assert output.shape == y.shape
    np.testing.assert_allclose(y.batch, output, rtol=1e-4, atol=1e-5)


def test_a_layer_with_weights_after_reshape_is_a_mistake() -> None:
    builder = Builder("net", seed=0)
    x = builder.input("input", (1, 4, 8, 8), 8)
    with pytest.raises(ValueError, match="no calibration batch"):
        builder.conv(builder.reshape(x, (1, 8, 8, 4)), 4, 1)


def test_two_layers_of_one_name_are_a_mistake() -> None:
    builder = Builder("net", seed=0)
    x = builder.input("input", (1, 4, 8, 8), 8)
    builder.conv(x, 4, 1)
    with pytest.raises(ValueError, match="two constants"):
        builder.conv(x, 4, 1)


def test_shapes_that_do_not_fit() -> None:
    builder = Builder("net", seed=0)
    x = builder.input("input", (1, 4, 9, 9), 9)
    with pytest.raises(BadInput, match="Add"):
        builder.add(x, builder.max_pool(x, 2, 2))
