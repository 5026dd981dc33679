"""The model's inputs: shapes fixed by the user, inputs bound to constants, initialisers that pose as inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, TensorProto, TensorShapeProto, ValueInfoProto, helper, numpy_helper

from edgesmith.errors import BadInput, ModelError, UnsupportedOp
from edgesmith.frontend.tensors import byte_count, type_name

__all__ = ["fix_inputs"]


def fix_inputs(graph: GraphProto, shapes: Mapping[str, Sequence[int]], bindings: Sequence[TensorProto]) -> None:
    """Make every graph input a tensor of static shape, in place.

    Initialisers that are listed as inputs, and inputs in ``bindings``, become plain initialisers. A symbolic dimension
    that a shape or a binding fixes is fixed wherever its name occurs among the inputs.

    Raises:
        BadInput: an unknown name, a shape that contradicts the model, or a dimension that remains open.
        ModelError: an input with a negative dimension.
        UnsupportedOp: an input that is not a tensor.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    bound = {tensor.name: tensor for tensor in bindings}
    inputs = {value.name: value for value in graph.input}
    runtime = [name for name in inputs if name not in constants]
    _check_names(shapes, bound, inputs, runtime)
    symbols: dict[str, int] = {}
    given: dict[str, Sequence[int]] = {**shapes, **{name: tuple(tensor.dims) for name, tensor in bound.items()}}
    for name in [*runtime, *(name for name in bound if name in constants)]:
        _check_kind(inputs[name])
        if name in given:
            _match(inputs[name], given[name], symbols)
    for name in inputs.keys() & constants.keys():
        _check_default(inputs[name], constants[name])
    for name, tensor in bound.items():
        _bind(graph, inputs[name], tensor)
    remaining = [value for name, value in inputs.items() if name in runtime and name not in bound]
    for value in remaining:
        _fill(value, shapes.get(value.name), symbols)
    _require_static(remaining)
    del graph.input[:]
    graph.input.extend(remaining)


def _check_names(
    shapes: Mapping[str, Sequence[int]],
    bound: Mapping[str, TensorProto],
    inputs: Mapping[str, ValueInfoProto],
    runtime: Sequence[str],
) -> None:
    for name in shapes:
        if name not in runtime:
            why = "is an initialiser, its shape is fixed" if name in inputs else "is not an input of the model"
            raise BadInput(f"{name!r} {why}", where="shapes", hint=f"Inputs: {_list(runtime)}.")
        if name in bound:
            raise BadInput(f"{name!r} is bound to a value, which already gives its shape", where="shapes")
    for name in bound:
        if name not in inputs:
            raise BadInput(f"{name!r} is not an input of the model", where="bindings", hint=f"Inputs: {_list(inputs)}.")


def _list(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _check_kind(value: ValueInfoProto) -> None:
    kind = value.type.WhichOneof("value")
    where = f"input {value.name!r}"
    if kind is None:
        raise ModelError("the input has no type", where=where)
    if kind != "tensor_type":
        raise UnsupportedOp(f"the input is a {kind.removesuffix('_type')}; only tensors are supported", where=where)
    byte_count(value.type.tensor_type.elem_type, (), where)
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_value < -1:
            raise ModelError(f"the input has a dimension of {dim.dim_value}", where=where)


def _check_default(value: ValueInfoProto, tensor: TensorProto) -> None:
    declared = value.type.tensor_type
    dims = [_static(dim) for dim in declared.shape.dim] if declared.HasField("shape") else list(tensor.dims)
    agrees = len(dims) == len(tensor.dims) and all(
        dim in (None, size) for dim, size in zip(dims, tensor.dims, strict=True)
    )
    if declared.elem_type != tensor.data_type or not agrees:
        found = f"{type_name(tensor.data_type)} of shape {tuple(tensor.dims)}"
        raise ModelError(
            f"the initialiser is {found}, declared as {type_name(declared.elem_type)} {_text(value)}",
            where=f"input {value.name!r}",
        )


def _text(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return "of unknown rank"
    sizes = [dim.dim_param or "?" if _static(dim) is None else str(dim.dim_value) for dim in tensor.shape.dim]
    return f"({', '.join(sizes)})"


def _static(dim: TensorShapeProto.Dimension) -> int | None:
    """The dimension's size, or None where it is symbolic or unknown (-1, as some exporters write it)."""
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None


def _match(value: ValueInfoProto, shape: Sequence[int], symbols: dict[str, int]) -> None:
    tensor = value.type.tensor_type
    where = f"input {value.name!r}"
    if not tensor.HasField("shape"):
        return
    if len(shape) != len(tensor.shape.dim):
        raise BadInput(
            f"the given shape {tuple(shape)} has {len(shape)} dimensions, the model's {_text(value)} has "
            f"{len(tensor.shape.dim)}",
            where=where,
        )
    for size, dim in zip(shape, tensor.shape.dim, strict=True):
        static = _static(dim)
        if static is not None and static != size:
            raise BadInput(f"the given shape {tuple(shape)} contradicts the model's {_text(value)}", where=where)
        if static is None and dim.dim_param and symbols.setdefault(dim.dim_param, size) != size:
            raise BadInput(
                f"dimension {dim.dim_param!r} is {size} in the given shape {tuple(shape)}, but "
                f"{symbols[dim.dim_param]} in another input's",
                where=where,
            )


def _fill(value: ValueInfoProto, shape: Sequence[int] | None, symbols: Mapping[str, int]) -> None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") and shape is None:
        return
    sizes: list[int | None] = list(shape) if shape is not None else []
    if shape is None:
        sizes = [symbols.get(dim.dim_param) if _static(dim) is None else _static(dim) for dim in tensor.shape.dim]
    if None not in sizes:
        value.CopyFrom(helper.make_tensor_value_info(value.name, tensor.elem_type, sizes))
        byte_count(tensor.elem_type, [size for size in sizes if size is not None], f"input {value.name!r}")


def _require_static(inputs: Sequence[ValueInfoProto]) -> None:
    open_inputs = [
        value
        for value in inputs
        if not value.type.tensor_type.HasField("shape")
        or any(_static(dim) is None for dim in value.type.tensor_type.shape.dim)
    ]
    if not open_inputs:
        return
    names = "; ".join(f"{value.name} {_text(value)}" for value in open_inputs)
    options = " ".join(f"--shape {value.name}={_example(value)}" for value in open_inputs)
    raise BadInput(
        f"inputs have dimensions that the model leaves open: {names}",
        where="inputs",
        hint=f"Fix them, for example: {options}",
    )


def _example(value: ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    guesses = (1, 3, 224, 224) if len(dims) == 4 else (1,) * len(dims)
    sizes = [
        static if (static := _static(dim)) is not None else guess for dim, guess in zip(dims, guesses, strict=True)
    ]
    return ",".join(map(str, sizes)) or "1,3,224,224"


def _bind(graph: GraphProto, value: ValueInfoProto, tensor: TensorProto) -> None:
    wanted = value.type.tensor_type.elem_type
    where = f"input {value.name!r}"
    if tensor.data_type != wanted:
        tensor = _converted(tensor, wanted, where)
    for index, existing in enumerate(graph.initializer):
        if existing.name == value.name:
            del graph.initializer[index]
            break
    graph.initializer.append(tensor)


def _converted(tensor: TensorProto, wanted: int, where: str) -> TensorProto:
    """The tensor in another element type, if every value survives; floats may be rounded."""
    message = f"the bound value is {type_name(tensor.data_type)}, the model wants {type_name(wanted)}"
    if TensorProto.STRING in (tensor.data_type, wanted):
        raise BadInput(message, where=where)
    array = numpy_helper.to_array(tensor)
    with np.errstate(all="ignore"):
        converted = array.astype(helper.tensor_dtype_to_np_dtype(wanted))
        survives = array.dtype.kind == converted.dtype.kind == "f" or np.array_equal(
            converted.astype(array.dtype), array
        )
    if not survives:
        raise BadInput(message, where=where, hint="Give an array of that type.")
    return numpy_helper.from_array(converted, tensor.name)
