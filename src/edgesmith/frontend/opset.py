"""Converts a model of static shapes to the one opset that Edgesmith reads, and mends what the converter breaks.

``onnx.version_converter`` of onnx 1.23 has an adapter for every change from opset 7 to 26. Some are wrong, found by
comparing each with ONNX Runtime on the original: Upsample and Resize before 11 lose their coordinate rule, Hardmax
before 13 its flattening; Clip and Pad before 11 give float constants to float16 data; operators that change their name
(Upsample, Scatter) lose that of their output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.frontend.folding import Shapes
from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.frontend.skeleton import Skeleton
from edgesmith.frontend.structure import label, name_nodes

__all__ = ["convert"]

_RENAMED = {"Upsample": "Resize", "Scatter": "ScatterElements"}


def convert(skeleton: Skeleton, shapes: Shapes) -> None:
    """Bring the model to ``TARGET_OPSET``, in place; names of values and nodes do not change.

    Args:
        skeleton: a model without subgraphs, with ``value_info``.
        shapes: the static shapes, by value.

    Raises:
        UnsupportedOp: an operator, or a use of it, has no counterpart in the target opset.
    """
    opset = skeleton.opset
    _check_convertible(skeleton.model.graph)
    if opset < TARGET_OPSET:
        if opset < 13:
            _flatten_hardmax(skeleton.model.graph, shapes)
        renamed = {new: _outputs(skeleton.model.graph, old) for old, new in _RENAMED.items()}
        types = {value.name: value.type.tensor_type.elem_type for value in skeleton.model.graph.value_info}
        types.update((value.name, value.type.tensor_type.elem_type) for value in skeleton.model.graph.input)
        try:
            skeleton.through(f"conversion from opset {opset} to {TARGET_OPSET}", _by_onnx)
        except ModelError as error:
            raise UnsupportedOp(error.why, where=error.where, hint="Export the model with a newer opset.") from error
        skeleton.lift_constants()
        graph = skeleton.model.graph
        if opset < 11:
            for kind, names in renamed.items():
                _restore_names(graph, kind, names)
            _mend_resize(skeleton)
            _mend_constant_types(skeleton, types)
        _drop_empty_resize_inputs(skeleton)
    skeleton.model.ir_version = MAX_IR_VERSION
    name_nodes(skeleton.model.graph)


def _by_onnx(model: ModelProto) -> ModelProto:
    return onnx.version_converter.convert_version(model, TARGET_OPSET)


def _attributes(node: NodeProto) -> dict[str, object]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _outputs(graph: GraphProto, op_type: str) -> list[str]:
    return [node.output[0] for node in graph.node if node.op_type == op_type]


def _check_convertible(graph: GraphProto) -> None:
    """Refuse what only training needs, and what newer opsets cannot say."""
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            attributes = _attributes(node)
            if attributes.get("training_mode") or len(list(filter(None, node.output))) > 1:
                hint = "Export the model in inference mode."
                raise UnsupportedOp("BatchNormalization is in training mode", where=label(node), hint=hint)
            if not attributes.get("spatial", 1):
                raise UnsupportedOp("BatchNormalization with spatial=0 is not supported", where=label(node))
        elif _attributes(node).get("coordinate_transformation_mode") == b"tf_half_pixel_for_nn":
            raise UnsupportedOp("the coordinate mode tf_half_pixel_for_nn left ONNX in opset 13", where=label(node))


def _flatten_hardmax(graph: GraphProto, shapes: Shapes) -> None:
    """Before opset 13, Hardmax works on the input flattened to two dimensions at its axis."""
    nodes: list[NodeProto] = []
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "Hardmax" else None
        axis = 1 if shape is None else _attributes(node).get("axis", 1)
        if shape is None or not isinstance(axis, int) or axis in (-1, len(shape) - 1):
            nodes.append(node)
            continue
        flat, result, sizes = (f"{node.output[0]}/{part}" for part in ("flat", "hardmax", "shape"))
        graph.initializer.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), sizes))
        nodes += [
            helper.make_node("Flatten", [node.input[0]], [flat], axis=axis + len(shape) if axis < 0 else axis),
            helper.make_node("Hardmax", [flat], [result], name=node.name, axis=1),
            helper.make_node("Reshape", [result, sizes], [node.output[0]]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _restore_names(graph: GraphProto, op_type: str, names: list[str]) -> None:
    """Give the outputs of the operators that replaced others, which are in the same order, their old names."""
    replacements = [node for node in graph.node if node.op_type == op_type]
    if not names or len(names) != len(replacements):
        return
    old = {node.output[0]: name for node, name in zip(replacements, names, strict=True)}
    for node in graph.node:
        node.input[:] = [old.get(name, name) for name in node.input]
        node.output[:] = [old.get(name, name) for name in node.output]
    for value in graph.value_info:
        value.name = old.get(value.name, value.name)


def _mend_resize(skeleton: Skeleton) -> None:
    """State the rule of Resize before opset 11, as in ONNX Runtime (``ResizeNearestMode::SIMPLE``, upsamplebase.h)."""
    constants = {tensor.name: tensor for tensor in skeleton.model.graph.initializer}
    for node in skeleton.model.graph.node:
        if node.op_type != "Resize":
            continue
        rule = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales = constants.get(node.input[-1])
        factors = numpy_helper.to_array(scales) if scales is not None else np.ones(1)
        if np.any(factors < 1) and _attributes(node).get("mode", b"nearest") == b"nearest":
            if np.any(factors > 1):
                raise UnsupportedOp(
                    "nearest Resize before opset 11 that shrinks one axis and grows another", where=label(node)
                )
            rule["nearest_mode"] = "ceil"
        node.attribute.extend(helper.make_attribute(name, value) for name, value in rule.items())


def _mend_constant_types(skeleton: Skeleton, types: Mapping[str, int]) -> None:
    """Make the constants that Clip and Pad had as attributes of the type of the data."""
    constants = {tensor.name: tensor for tensor in skeleton.model.graph.initializer}
    for node in skeleton.model.graph.node:
        wanted = types.get(node.input[0], 0) if node.op_type in ("Clip", "Pad") else 0
        for name in node.input[1 if node.op_type == "Clip" else 2 :] if wanted else ():
            tensor = constants.get(name)
            if tensor is not None and tensor.data_type != wanted:
                array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(wanted))
                tensor.CopyFrom(numpy_helper.from_array(array, name))


def _drop_empty_resize_inputs(skeleton: Skeleton) -> None:
    """An empty tensor as roi, scales or sizes stood for an absent one in opset 11; newer shape inference counts it."""
    empty = {name for name, tensor in skeleton.constants().items() if 0 in tensor.dims}
    for node in skeleton.model.graph.node:
        if node.op_type == "Resize":
            node.input[1:] = ["" if name in empty else name for name in node.input[1:]]
            while node.input and not node.input[-1]:
                node.input.pop()
