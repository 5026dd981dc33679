"""The oldest opset in which a model means the same: what more runtimes and converters read."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper
from onnx.defs import OpSchema

__all__ = ["in_oldest_opset"]

OLDEST = 13
"""Since then QuantizeLinear has scales by channel, and Softmax one axis."""

CHANGED = {"AveragePool": 19, "GroupNormalization": 21, "Pad": 19, "Resize": 19, "GridSample": 22, "RoiAlign": 22}
"""Opsets that gave an operator another meaning, or cleared it up, in words alone."""


def in_oldest_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes, said to be of the oldest opset from 13 on that defines each of them alike.

    Operators get new versions mostly for new types. One of an older opset is the same where it has all attributes of
    the node and the same defaults for others, takes as many inputs, and allows the types at hand.
    """
    newest = model.opset_import[0].version
    kinds = _types(model.graph)
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    for node in lowered.graph.node:
        _drop_defaults(node, newest)
    opset = next(v for v in range(OLDEST, newest + 1) if all(_alike(n, v, newest, kinds) for n in lowered.graph.node))
    del lowered.opset_import[:]
    lowered.opset_import.append(helper.make_opsetid("", opset))
    lowered.ir_version = min(model.ir_version, max(helper.find_min_ir_version_for(lowered.opset_import), 7))
    return lowered


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    declared = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    return declared | {t.name: t.data_type for t in graph.initializer}


def _drop_defaults(node: onnx.NodeProto, newest: int) -> None:
    """Remove attributes that say nothing: their default, or the type of a zero point that is there."""
    known = onnx.defs.get_schema(node.op_type, newest, "").attributes if not node.domain else {}
    kept = []
    for attribute in node.attribute:
        default = known[attribute.name].default_value if attribute.name in known else None
        told = attribute.name == "output_dtype" and len(node.input) > 2 and node.input[2]
        if not told and (default is None or helper.get_attribute_value(attribute) != _value(default)):
            kept.append(attribute)
    del node.attribute[:]
    node.attribute.extend(kept)


def _value(default: onnx.AttributeProto) -> object:
    return helper.get_attribute_value(default) if default.type else None


def _alike(node: onnx.NodeProto, opset: int, newest: int, kinds: dict[str, int]) -> bool:
    if node.domain or opset == newest:
        return opset == newest
    after = onnx.defs.get_schema(node.op_type, newest, "")
    try:
        before = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    if before.since_version == after.since_version:
        return True
    if before.deprecated or before.since_version < CHANGED.get(node.op_type, 0):
        return False
    given = {a.name for a in node.attribute}
    if not given <= before.attributes.keys():
        return False
    for name in (after.attributes.keys() & before.attributes.keys()) - given:
        if after.attributes[name].default_value != before.attributes[name].default_value:
            return False
    return _fits(before, before.inputs, node.input, kinds) and _fits(before, before.outputs, node.output, kinds)


def _fits(
    schema: OpSchema, formal: Sequence[OpSchema.FormalParameter], names: Sequence[str], kinds: dict[str, int]
) -> bool:
    """Whether values have types that the schema's inputs, or outputs, allow."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    variadic = bool(formal) and formal[-1].option == OpSchema.FormalParameterOption.Variadic
    if len(names) > len(formal) and not variadic:
        return False
    for i, name in enumerate(names):
        parameter = formal[min(i, len(formal) - 1)]
        kind = f"tensor({TensorProto.DataType.Name(kinds[name]).lower()})" if name in kinds else None
        if name and kind not in allowed.get(parameter.type_str, {parameter.type_str}):
            return False
    return True
