"""Every network at its published size: valid ONNX, published counts, activations in range, outputs that depend on the
input. Each network is built once.

Counting convention: a multiply-add of a convolution, transposed convolution or fully connected layer counts one; batch
normalisation (folded in deployment), activations, pools and biases count nothing. Parameters are weights, biases, PReLU
slopes, and the scale and shift of batch normalisation; running statistics and shape constants are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
import onnxruntime
import pytest

from edgesmith import zoo

MAC_TOLERANCE = 0.02
PARAMETER_TOLERANCE = 0.035  # papers print two digits, and some cut the rest off: MobileNet v2's 3.505 M is their 3.4 M

EXACT_PARAMETERS = {
    "alexnet": 60_965_224,  # Caffe's bvlc_alexnet
    "efficientnet-b0": 5_288_548,  # torchvision, as the others without a comment
    "face-cnn": 1_039_744,  # given with the layer table
    "googlenet": 6_998_552,  # Caffe's bvlc_googlenet
    "googlenet-bn": 6_624_904,
    "inception-v3": 23_834_568,
    "lenet-5": 61_706,
    "mlperf-tiny-anomaly-detection": 267_928,  # Keras' 269,992 less its 2,064 running statistics
    "mlperf-tiny-image-classification": 78_186,  # Keras' 78,666 less its 480 running statistics
    "mlperf-tiny-keyword-spotting": 23_756,  # Keras' 24,908 less its 1,152 running statistics
    "mlperf-tiny-person-detection": 216_322,  # Keras' 221,794 less its 5,472 running statistics
    "mnasnet-1.0": 4_383_312,
    "mobilenet-v1": 4_231_976,  # Keras' 4,253,864 less its 21,888 running statistics
    "mobilenet-v2": 3_504_872,
    "mobilenet-v3-large": 5_483_032,
    "mobilenet-v3-small": 2_542_856,
    "resnet-18": 11_689_512,
    "resnet-34": 21_797_672,
    "resnet-50": 25_557_032,
    "resnext-50": 25_028_904,
    "se-resnet-50": 28_088_024,  # timm
    "shufflenet-v2-0.5": 1_366_792,
    "shufflenet-v2-1.0": 2_278_604,
    "squeezenet-1.0": 1_248_424,
    "squeezenet-1.1": 1_235_496,
    "unet": 31_037_698,  # milesial/Pytorch-UNet: 31,037,633 with one class, 65 more with two
    "unet-bilinear": 17_263_042,
    "vgg-16": 138_357_544,
}

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module", params=zoo.names())
def built(request: pytest.FixtureRequest) -> Iterator[tuple[str, onnx.ModelProto]]:
    yield request.param, zoo.build(request.param)


def _shapes(model: onnx.ModelProto) -> Shapes:
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return shapes | {i.name: tuple(i.dims) for i in graph.initializer}


def _macs(model: onnx.ModelProto, shapes: Shapes) -> int:
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += shapes[node.output[0]][0] * prod(shapes[node.input[1]])
    return total


def _parameters(model: onnx.ModelProto, shapes: Shapes) -> int:
    learned: set[str] = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul", "PRelu"):
            learned.update(node.input[1:])
        elif node.op_type == "BatchNormalization":
            learned.update(node.input[1:3])
    return sum(prod(shapes[name]) for name in learned)


def test_valid_and_as_large_as_published(built: tuple[str, onnx.ModelProto]) -> None:
    name, model = built
    onnx.checker.check_model(model, full_check=True)
    shapes, published = _shapes(model), zoo.describe(name).published
    macs, parameters = _macs(model, shapes), _parameters(model, shapes)
    if published.macs is not None:
        assert macs == pytest.approx(published.macs, rel=MAC_TOLERANCE)
    if published.parameters is not None:
        assert parameters == pytest.approx(published.parameters, rel=PARAMETER_TOLERANCE)
    assert parameters == EXACT_PARAMETERS.get(name, parameters)


def _observed(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session whose outputs are the model's own and then every other float value."""
    watched = onnx.shape_inference.infer_shapes(model)
    values = watched.graph.value_info
    watched.graph.output.extend(v for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_activations_in_range_and_outputs_depend_on_the_input(built: tuple[str, onnx.ModelProto]) -> None:
    name, model = built
    session = _observed(model)
    names = [o.name for o in session.get_outputs()]
    rng = np.random.default_rng(7)
    shape = session.get_inputs()[0].shape
    pictures = [rng.standard_normal(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)]
    runs = [dict(zip(names, session.run(None, {"input": p}), strict=True)) for p in pictures]

    softmax = {n.output[0] for n in model.graph.node if n.op_type == "Softmax"}
    for run in runs:
        for value, data in run.items():
            assert np.isfinite(data).all(), value
            if value not in softmax and data.size > 1:
                assert 1e-2 < data.std() < 1e2, value
    for output in model.graph.output:
        first, second = (run[output.name] for run in runs)
        assert np.abs(first - second).mean() > 0.1 * first.std(), f"{name}: {output.name} hardly depends on the input"


def test_names_and_versions_are_those_of_an_export(built: tuple[str, onnx.ModelProto]) -> None:
    name, model = built
    assert model.graph.name == name
    assert [o.domain for o in model.opset_import] == [""]
    nodes = [n.name for n in model.graph.node]
    assert len(set(nodes)) == len(nodes)
    assert all(n.name.startswith("/") and n.op_type in n.name.rsplit("/", 1)[1] for n in model.graph.node)
    used = {i for n in model.graph.node for i in n.input}
    assert {i.name for i in model.graph.initializer} <= used
