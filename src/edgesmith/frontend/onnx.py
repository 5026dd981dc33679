"""ONNX to Graph: a normalised model bound operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgesmith.errors import GraphError, UnsupportedOp
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.widen import widen
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import OPS, OnnxNode

__all__ = ["bind", "read"]


def read(
    model: str | Path | onnx.ModelProto,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The graph of an ONNX model.

    Args:
        shapes: extents of inputs with dynamic dimensions.
        bindings: inputs fixed to a value at compile time.

    Raises:
        ModelError: the model is malformed or unsafe.
        UnsupportedOp: it uses something that Edgesmith does not implement.
        BadInput: ``shapes`` or ``bindings`` do not fit it.
    """
    return bind(normalize(model, shapes=shapes, bindings=bindings))


def bind(model: onnx.ModelProto) -> Graph:
    """The graph of a normalised model (see ``normalize``): static shapes, one opset, sorted nodes.

    Between inputs and outputs in fp16 it computes in f32 (see ``widen``).
    """
    graph = widen(model).graph
    constants = {t.name: _in_bytes(numpy_helper.to_array(t)) for t in graph.initializer}
    types = {name: _array_type(array, name) for name, array in constants.items()}
    inputs = [i for i in graph.input if i.name not in constants]
    for value in (*inputs, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
            why, hint = "inputs and outputs of type BFLOAT16 are not supported", "cast from and to FLOAT in the model"
            raise UnsupportedOp(why, where=value.name, hint=hint)
    for value in inputs:
        types[value.name] = _declared_type(value)
    nodes: list[Node] = []
    for proto in graph.node:
        outputs = list(proto.output)
        while outputs and not outputs[-1]:
            outputs.pop()
        source = OnnxNode(
            proto.op_type,
            proto.name,
            tuple(proto.input),
            tuple(outputs),
            {a.name: _attribute(a) for a in proto.attribute},
            types,
            constants,
        )
        if proto.domain not in ("", "ai.onnx") or proto.op_type not in OPS:
            raise _unknown(proto)
        try:
            op, operands = OPS[proto.op_type].from_onnx(source)
            while operands and not operands[-1]:
                operands = operands[:-1]
            inferred = op.infer([types[v] if v else None for v in operands])
        except UnsupportedOp as error:
            if error.where == proto.name:
                raise
            raise UnsupportedOp(str(error), where=proto.name) from error
        if len(inferred) < len(outputs):
            raise UnsupportedOp(f"{proto.op_type} with {len(outputs)} outputs", where=proto.name)
        names = [outputs[i] if i < len(outputs) and outputs[i] else f"{proto.name}:{i}" for i in range(len(inferred))]
        types.update(zip(names, inferred, strict=True))
        nodes.append(Node(proto.name, op, operands, tuple(names), (proto.name,)))
    read_values = {v for n in nodes for v in n.read} | {o.name for o in graph.output}
    constants = {v: a for v, a in constants.items() if v in read_values}
    kept = {v for n in nodes for v in n.outputs} | set(constants) | {i.name for i in inputs}
    result = Graph(
        inputs=tuple(i.name for i in inputs),
        outputs=tuple(o.name for o in graph.output),
        nodes=tuple(nodes),
        types={v: t for v, t in types.items() if v in kept},
        constants=constants,
        name=graph.name or "model",
    )
    result.check(())
    return result


def _unknown(proto: onnx.NodeProto) -> UnsupportedOp:
    name = f"{proto.domain}.{proto.op_type}" if proto.domain not in ("", "ai.onnx") else proto.op_type
    near = get_close_matches(proto.op_type, OPS, n=3)
    return UnsupportedOp(
        f"operator {name} is not implemented",
        where=proto.name,
        hint="similar: " + ", ".join(near) if near else f"implemented: {', '.join(sorted(OPS))}",
    )


def _attribute(attribute: onnx.AttributeProto) -> object:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
        return [v.decode("utf-8", "replace") for v in value]
    return value


def _in_bytes(array: np.ndarray) -> np.ndarray:
    """Integers of 2 or 4 bits as such of 8."""
    wide = {"int2": np.int8, "int4": np.int8, "uint2": np.uint8, "uint4": np.uint8}.get(array.dtype.name)
    return array if wide is None else array.astype(wide)


def _array_type(array: np.ndarray, name: str) -> TensorType:
    try:
        return TensorType.of(array)
    except KeyError:
        raise UnsupportedOp(f"element type {array.dtype} is not supported", where=name) from None


def _declared_type(value: onnx.ValueInfoProto) -> TensorType:
    tensor = value.type.tensor_type
    try:
        dtype = DType(tensor.elem_type)
    except ValueError:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else "non-tensor"
        raise UnsupportedOp(f"inputs of type {kind} are not supported", where=value.name) from None
    if any(not d.HasField("dim_value") for d in tensor.shape.dim):
        raise GraphError("input has a dynamic dimension after normalisation", where=value.name)
    return TensorType(tuple(d.dim_value for d in tensor.shape.dim), dtype)
