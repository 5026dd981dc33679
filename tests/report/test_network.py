"""Layers, counts and limits of models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith import zoo
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.report.network import Network, analyze
from edgesmith.report.units import count, duration, nbytes, rate
from edgesmith.target import Machine

MACHINE = Machine("m", "i", 1, 100e9, ((1 << 10, 50e9), (1 << 24, 10e9)))


def _analyzed(model: onnx.ModelProto) -> Network:
    graph = read(model)
    return analyze(optimize(graph)[0], graph)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mobilenet-v2", 3_504_872),
        ("resnet-18", 11_689_512),
        ("googlenet", 6_998_552),
        ("shufflenet-v2-1.0", 2_278_604),
    ],
)
def test_published_counts(name: str, parameters: int) -> None:
    """Parameters as torchvision and Caffe count them; MACs within the rounding of the publication."""
    network = _analyzed(zoo.build(name))
    assert network.parameters == parameters
    published = zoo.describe(name).published.macs
    assert published is not None
    assert network.macs == pytest.approx(published, rel=0.02)


def test_one_convolution_by_hand() -> None:
    weights = np.ones((8, 4, 3, 3), np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 10, 12])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 5, 6])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    network = _analyzed(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    (layer,) = network.layers
    assert layer.operators == "Conv+Relu"
    assert layer.detail == "3x3 s2"
    assert layer.macs == 5 * 6 * 8 * 4 * 9
    assert layer.parameters == network.parameters == weights.size
    assert layer.weight_bytes == weights.nbytes
    assert layer.activation_bytes == 4 * (4 * 10 * 12 + 8 * 5 * 6)
    limit = layer.limit(MACHINE)
    assert limit.compute_ns == pytest.approx((2 * layer.macs + layer.flops) / 100)
    assert limit.ns == max(limit.compute_ns, limit.memory_ns)


def test_totals_are_the_sums_of_the_layers() -> None:
    network = _analyzed(zoo.build("lenet-5"))
    data = network.to_json(MACHINE)
    assert data["macs"] == sum(layer["macs"] for layer in data["layers"])
    assert data["limit_ns"] == pytest.approx(sum(layer["limit_ns"] for layer in data["layers"]))
    nodes = [name for layer in network.layers for name in layer.operators.split("+")]
    assert len(nodes) == len(optimize(read(zoo.build("lenet-5")))[0].nodes)


def test_units() -> None:
    assert [count(n) for n in (0, 999, 1234, 301e6, 1.5e12)] == ["0", "999", "1.23 k", "301 M", "1.50 T"]
    assert [nbytes(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.00 KiB",
        "5.00 MiB",
        "3.00 GiB",
    ]
    assert [duration(n) for n in (5, 1500, 2.5e6, 3e9)] == ["5 ns", "1.50 µs", "2.50 ms", "3.00 s"]
    assert rate(2e11, "FLOP/s") == "200 GFLOP/s"
