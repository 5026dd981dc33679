"""Static shapes for every value: shape inference, constant folding by ONNX Runtime, inlining of If."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgesmith.errors import EdgesmithError, ModelError
from edgesmith.frontend.branches import inline_constant_if
from edgesmith.frontend.library import guarded
from edgesmith.frontend.limits import MAX_FOLDED_BYTES, MAX_FOLDED_ELEMENTS, MAX_IR_VERSION
from edgesmith.frontend.skeleton import Skeleton
from edgesmith.frontend.structure import name_nodes, sort_nodes, subgraphs
from edgesmith.frontend.tensors import byte_count

__all__ = ["Shapes", "fold", "infer_shapes"]

Shapes = Mapping[str, tuple[int, ...]]

_RUNTIME_ONLY = frozenset(
    (
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),  # they carry the quantisation
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
    )
)
_SHAPE_FROM_DATA = frozenset(("NonZero", "Unique", "Compress"))


def infer_shapes(skeleton: Skeleton, *, strict: bool) -> Shapes:
    """Infer types and shapes of all values afresh, into ``value_info``; returns those of static shape.

    Raises:
        ModelError: types or shapes contradict each other (``strict``), or a dimension is negative.
        ResourceLimit: a value would be larger than ``MAX_TENSOR_BYTES``.
    """
    graph = skeleton.model.graph
    del graph.value_info[:]
    constants = skeleton.constants()
    inputs = {value.name: value for value in graph.input}
    for output in graph.output:
        if output.name in inputs:
            output.CopyFrom(inputs[output.name])
        elif output.name in constants:
            tensor = constants[output.name]
            output.CopyFrom(helper.make_tensor_value_info(output.name, tensor.data_type, tensor.dims))
        elif output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    while True:
        skeleton.through(
            "shape inference",
            lambda model: onnx.shape_inference.infer_shapes(
                model, check_type=strict, strict_mode=strict, data_prop=True
            ),
        )
        shapes = _collect(skeleton)
        if not _fill_gaps(skeleton, shapes):
            return shapes


def _collect(skeleton: Skeleton) -> Shapes:
    shapes: dict[str, tuple[int, ...]] = {name: tuple(t.dims) for name, t in skeleton.weights.items()}
    shapes.update((tensor.name, tuple(tensor.dims)) for tensor in skeleton.model.graph.initializer)
    graph = skeleton.model.graph
    for value in chain(graph.input, graph.value_info, graph.output):
        shape = _static_shape(value)
        if shape is not None:
            byte_count(value.type.tensor_type.elem_type, shape, f"value {value.name!r}")
            shapes[value.name] = shape
    return shapes


def _fill_gaps(skeleton: Skeleton, shapes: Shapes) -> bool:
    """Supply what onnx 1.23 does not infer, the shape of GroupNormalization, one node at a time along a chain."""
    graph = skeleton.model.graph
    outputs = {output.name: output for output in graph.output}
    types = {value.name: value.type for value in chain(graph.input, graph.value_info, graph.output)}
    filled = False
    for node in graph.node:
        if node.op_type == "GroupNormalization" and node.input[0] in shapes and node.output[0] not in shapes:
            value = outputs.get(node.output[0]) or graph.value_info.add(name=node.output[0])
            value.type.CopyFrom(types[node.input[0]])
            filled = True
    return filled


def _static_shape(value: ValueInfoProto) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type or not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def fold(skeleton: Skeleton) -> Shapes:
    """Fold constants, shapes and constant branches until nothing changes; returns the static shapes.

    Names of surviving values do not change. Tensors beyond ``limits`` are left to be computed at run time.
    """
    while True:
        skeleton.lift_constants()
        skeleton.remove_unused()
        name_nodes(skeleton.model.graph)
        shapes = infer_shapes(skeleton, strict=False)
        changed = _fold_shapes(skeleton, shapes)
        changed |= _fold_constants(skeleton, shapes)
        if inline_constant_if(skeleton):
            sort_nodes(skeleton.model.graph, frozenset(skeleton.weights))
            changed = True
        if not changed:
            return shapes


def _replace(skeleton: Skeleton, removed: Iterable[int], constants: list[TensorProto]) -> None:
    graph = skeleton.model.graph
    dropped = set(removed)
    kept = [node for index, node in enumerate(graph.node) if index not in dropped]
    del graph.node[:]
    graph.node.extend(kept)
    skeleton.adopt(constants)


def _fold_shapes(skeleton: Skeleton, shapes: Shapes) -> bool:
    """Replace Shape and Size of values with static shape."""
    removed, constants = [], []
    for index, node in enumerate(skeleton.model.graph.node):
        if node.op_type not in ("Shape", "Size") or len(node.input) != 1 or node.input[0] not in shapes:
            continue
        shape = shapes[node.input[0]]
        if node.op_type == "Size":
            array = np.array(math.prod(shape), dtype=np.int64)
        else:
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            start, end = (
                min(max(bound + len(shape) if bound < 0 else bound, 0), len(shape))
                for bound in (bounds.get("start", 0), bounds.get("end", len(shape)))
            )
            array = np.array(shape[start:end], dtype=np.int64)
        removed.append(index)
        constants.append(numpy_helper.from_array(array, node.output[0]))
    if removed:
        _replace(skeleton, removed, constants)
    return bool(removed)


def _fold_constants(skeleton: Skeleton, shapes: Shapes) -> bool:
    """Compute every node that depends on constants alone; what ONNX Runtime cannot compute stays."""
    constants = skeleton.constants()
    known = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    chosen: list[int] = []
    nodes = skeleton.model.graph.node
    for index, node in enumerate(nodes):
        if _foldable(node, known, shapes):
            chosen.append(index)
            known.update((name, shapes.get(name, (0,))) for name in node.output if name)
    if not chosen:
        return False
    folded = [nodes[index] for index in chosen]
    results = _evaluate(skeleton, folded, constants)
    if results is None:
        chosen, results = _evaluate_singly(skeleton, chosen, constants)
    if chosen:
        _replace(skeleton, chosen, results)
    return bool(chosen)


def _foldable(node: NodeProto, known: Shapes, shapes: Shapes) -> bool:
    if node.op_type in _RUNTIME_ONLY or any(True for _ in subgraphs(node)):
        return False
    inputs = [name for name in node.input if name]
    if any(name not in known for name in inputs):
        return False
    sizes = [math.prod(known[name]) for name in inputs]
    limit = max(MAX_FOLDED_ELEMENTS, sum(sizes))
    if 8 * limit > MAX_FOLDED_BYTES:
        return False
    if node.op_type in _SHAPE_FROM_DATA:
        return sum(sizes) <= MAX_FOLDED_ELEMENTS
    return all(name in shapes and math.prod(shapes[name]) <= limit for name in node.output if name)


def _evaluate(
    skeleton: Skeleton, nodes: list[NodeProto], constants: Mapping[str, TensorProto]
) -> list[TensorProto] | None:
    """The values that ``nodes`` give to the rest of the graph, or None where ONNX Runtime fails."""
    own = {name for node in nodes for name in node.output if name}
    inside = {node.name for node in nodes}
    read = {name for node in skeleton.model.graph.node if node.name not in inside for name in _reads(node)}
    read |= {output.name for output in skeleton.model.graph.output}
    wanted = sorted(own & read)
    used = {name for node in nodes for name in node.input if name} - own
    model = ModelProto(ir_version=MAX_IR_VERSION, opset_import=skeleton.model.opset_import)
    model.graph.name = "constants"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants[name] for name in constants if name in used)
    model.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    if not wanted:
        return []
    try:
        arrays = guarded("constant folding", _run, model, wanted)
        return [numpy_helper.from_array(array, name) for name, array in zip(wanted, arrays, strict=True)]
    except ModelError:
        return None


def _reads(node: NodeProto) -> Iterable[str]:
    yield from node.input
    for graph in subgraphs(node):
        yield from (output.name for output in graph.output)
        for inner in graph.node:
            yield from _reads(inner)


def _run(model: ModelProto, outputs: list[str]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    arrays = session.run(outputs, {})
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise ModelError("a constant that is not a tensor")
    return list(arrays)


def _evaluate_singly(
    skeleton: Skeleton, chosen: list[int], constants: Mapping[str, TensorProto]
) -> tuple[list[int], list[TensorProto]]:
    """Fold node by node, so that one that ONNX Runtime cannot run does not keep the others."""
    known = dict(constants)
    done: list[int] = []
    results: list[TensorProto] = []
    for index in chosen:
        node = skeleton.model.graph.node[index]
        if any(name and name not in known for name in node.input):
            continue
        try:
            values = _evaluate(skeleton, [node], known)
        except EdgesmithError:
            continue
        if values is not None:
            done.append(index)
            results += values
            known.update((tensor.name, tensor) for tensor in values)
    return done, results
