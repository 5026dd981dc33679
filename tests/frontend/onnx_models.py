"""Small models for the frontend's tests, and ONNX Runtime as what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Arrays = Mapping[str, np.ndarray]
Build = Callable[..., ModelProto]


def build(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Arrays | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    elem_type: int = TensorProto.FLOAT,
) -> ModelProto:
    """A model from its nodes; outputs are declared without shape."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, elem_type, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def run_model(model: ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """What ONNX Runtime computes, without its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def feeds_for(model: ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded values for the inputs of a model of static shapes."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        array = rng.standard_normal(shape) if np.dtype(dtype).kind == "f" else rng.integers(0, 2, shape)
        feeds[value.name] = array.astype(dtype)
    return feeds


def assert_normal(model: ModelProto) -> None:
    """Check everything that ``normalize`` promises about the form of its result."""
    graph = model.graph
    onnx.checker.check_model(model, full_check=True)
    names = [node.name for node in graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert all(not node.domain and node.op_type != "Constant" for node in graph.node)
    assert all(not tensor.external_data for tensor in graph.initializer)
    typed = {value.name: value.type.tensor_type for value in [*graph.input, *graph.output, *graph.value_info]}
    computed = {name for node in graph.node for name in node.output if name}
    for name in computed | {output.name for output in graph.output}:
        assert typed[name].elem_type and typed[name].HasField("shape")
        assert all(dim.HasField("dim_value") for dim in typed[name].shape.dim), name


def convolutions(opset: int = 13) -> ModelProto:
    """A little network: convolutions, one depthwise, normalisation, residual, pool, flattening by Shape, classifier."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"], name="norm1"),
        make("Relu", ["n1"], ["r1"], name="relu1"),
        make("Conv", ["r1", "w2"], ["c2"], name="conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        make("Add", ["c2", "r1"], ["a"], name="add"),
        make("MaxPool", ["a"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        make("Shape", ["p"], ["s"], name="shape"),
        make("Gather", ["s", "zero"], ["batch"], name="gather", axis=0),
        make("Concat", ["batch", "minus"], ["flat"], name="concat", axis=0),
        make("Reshape", ["p", "flat"], ["f"], name="reshape"),
        make("Gemm", ["f", "wf", "bf"], ["l"], name="dense", transB=1),
        make("Softmax", ["l"], ["y"], name="softmax", axis=1),
    ]
    constants = {
        "w1": normal(8, 3, 3, 3),
        "b1": normal(8),
        "g": normal(8),
        "b": normal(8),
        "m": normal(8),
        "v": np.abs(normal(8)) + 0.5,
        "w2": normal(8, 1, 3, 3),
        "wf": normal(5, 128),
        "bf": normal(5),
        "zero": np.array([0]),
        "minus": np.array([-1]),
    }
    return build(nodes, {"x": ["n", 3, 8, 8]}, ["y"], constants, opset=opset)
