"""Sizes of ONNX tensors, computed from what they declare before anything of that size is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import onnx
from onnx import TensorProto, numpy_helper

from edgesmith.errors import ModelError, ResourceLimit, UnsupportedOp
from edgesmith.frontend.limits import MAX_TENSOR_BYTES

__all__ = ["attribute_tensors", "byte_count", "check_data", "element_count", "inline_raw", "type_name"]

_BITS: dict[int, int] = {
    **dict.fromkeys((TensorProto.COMPLEX128,), 128),
    **dict.fromkeys((TensorProto.INT64, TensorProto.UINT64, TensorProto.DOUBLE, TensorProto.COMPLEX64), 64),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL), 8),
    **dict.fromkeys((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ), 8),
    **dict.fromkeys((TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ, TensorProto.FLOAT8E8M0), 8),
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1), 4),
    **dict.fromkeys((TensorProto.INT2, TensorProto.UINT2), 2),
}
_TYPED_FIELD: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.STRING: "string_data",
}
_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "uint64_data", "double_data", "string_data")


def type_name(elem_type: int) -> str:
    """The ONNX name of an element type, such as ``FLOAT``, or its number where there is none."""
    return TensorProto.DataType.Name(elem_type) if elem_type in TensorProto.DataType.values() else str(elem_type)


def element_count(dims: Sequence[int], where: str) -> int:
    """Product of ``dims``; raises ModelError for a negative one."""
    if any(dim < 0 for dim in dims):
        raise ModelError(f"the shape {list(dims)} has a negative dimension", where=where)
    return math.prod(dims)


def byte_count(elem_type: int, dims: Sequence[int], where: str) -> int:
    """Bytes that a tensor takes, 16 for a string's bookkeeping.

    Raises:
        ModelError: a negative dimension.
        UnsupportedOp: an element type without a known size.
        ResourceLimit: more than ``MAX_TENSOR_BYTES``, also where that hides behind a dimension of 0.
    """
    bits = 128 if elem_type == TensorProto.STRING else _BITS.get(elem_type)
    if bits is None:
        raise UnsupportedOp(f"tensors of type {type_name(elem_type)} are not supported", where=where)
    elements = element_count(dims, where)
    if math.prod(dim for dim in dims if dim) * bits > 8 * MAX_TENSOR_BYTES:
        raise ResourceLimit(
            f"a tensor of shape {list(dims)} would take more than {MAX_TENSOR_BYTES >> 30} GiB",
            where=where,
            hint="Check the model's shapes and the values given with --shape.",
        )
    return (elements * bits + 7) // 8


def check_data(tensor: TensorProto, where: str) -> None:
    """Raise ModelError unless a tensor's own data (not external) has exactly the length that its shape asks for."""
    needed = byte_count(tensor.data_type, tensor.dims, where)
    elements = element_count(tensor.dims, where)
    typed_field = _TYPED_FIELD.get(tensor.data_type, "int32_data")
    present = [field for field in _DATA_FIELDS if len(getattr(tensor, field))]
    if len(present) > 1:
        raise ModelError(f"tensor {tensor.name!r} has data in {' and '.join(present)}", where=where)
    field = present[0] if present else typed_field
    if field != typed_field and (field != "raw_data" or tensor.data_type == TensorProto.STRING):
        raise ModelError(f"{type_name(tensor.data_type)} tensor {tensor.name!r} has {field}", where=where)
    held = len(getattr(tensor, field))
    if field == "raw_data":
        expected, unit = needed, "bytes"
    elif _BITS.get(tensor.data_type, 8) < 8:
        expected, unit = needed, "packed values"
    else:
        is_complex = tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
        expected, unit = elements * (2 if is_complex else 1), "values"
    if held != expected:
        raise ModelError(
            f"tensor {tensor.name!r} of type {type_name(tensor.data_type)} and shape {list(tensor.dims)} holds {held} "
            f"{unit}, needs {expected}",
            where=where,
            hint="The file is damaged or was written by a faulty exporter.",
        )


def inline_raw(tensor: TensorProto) -> None:
    """Move typed data into ``raw_data``, so that one form remains. Strings stay as they are."""
    if tensor.data_type == TensorProto.STRING or tensor.HasField("raw_data"):
        return
    if element_count(tensor.dims, tensor.name) == 0:
        tensor.raw_data = b""
        return
    raw = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
    tensor.CopyFrom(raw)


def attribute_tensors(nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[str, TensorProto]]:
    """Every tensor in the attributes of ``nodes`` and of their subgraphs, with a place for messages."""
    for node in nodes:
        where = f"node {node.name or node.op_type!r} ({node.op_type})"
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield where, attribute.t
            yield from ((where, tensor) for tensor in attribute.tensors)
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from ((where, tensor) for tensor in graph.initializer)
                yield from attribute_tensors(graph.node)
