"""Seeded damage to ONNX files: of bytes, as broken transfers do, and of fields, as hostile or faulty exporters do."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, helper

__all__ = ["mutate"]

ABSURD = (0, 1, -1, -5, 3, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 62, -(1 << 62), (1 << 63) - 1)


def truncate(random_: random.Random, data: bytes) -> bytes:
    return data[: random_.randrange(len(data))]


def flip_bits(random_: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 8, 64))):
        damaged[random_.randrange(len(damaged))] ^= 1 << random_.randrange(8)
    return bytes(damaged)


def flip_structure(random_: random.Random, data: bytes) -> bytes:
    """Bits near names, where the graph rather than the weights is."""
    names = [index for index in range(len(data) - 4) if data[index : index + 4].isalpha()] or [0]
    damaged = bytearray(data)
    for _ in range(random_.choice((1, 2, 4))):
        index = min(max(random_.choice(names) + random_.randrange(-8, 24), 0), len(data) - 1)
        damaged[index] ^= 1 << random_.randrange(8)
    return bytes(damaged)


def delete_bytes(random_: random.Random, data: bytes) -> bytes:
    start = random_.randrange(len(data))
    return data[:start] + data[start + random_.choice((1, 2, 3, 16, 256)) :]


def repeat_bytes(random_: random.Random, data: bytes) -> bytes:
    start = random_.randrange(len(data))
    return data[: start + random_.choice((1, 4, 64, 1024))] + data[start:]


def _names(node: NodeProto) -> list[str]:
    return [*node.input, *node.output]


def swap_names(random_: random.Random, model: ModelProto) -> None:
    """Exchange two value names, which makes cycles, redefinitions and wrong types."""
    values = [name for node in model.graph.node for name in _names(node)]
    old, new = random_.choice(values), random_.choice(values)
    node = random_.choice(model.graph.node)
    field = random_.choice((node.input, node.output))
    if field:
        field[random_.randrange(len(field))] = new
        if random_.random() < 0.5:
            other = random_.choice(model.graph.node)
            other.output[random_.randrange(len(other.output))] = old


def change_dims(random_: random.Random, model: ModelProto) -> None:
    if model.graph.initializer and random_.random() < 0.5:
        dims = random_.choice(model.graph.initializer).dims
        if dims:
            dims[random_.randrange(len(dims))] = random_.choice(ABSURD)
            return
        dims.append(random_.choice(ABSURD))
    elif model.graph.input:
        shape = random_.choice(model.graph.input).type.tensor_type.shape
        if shape.dim:
            random_.choice(shape.dim).dim_value = random_.choice(ABSURD)


def change_constant(random_: random.Random, model: ModelProto) -> None:
    """Replace an integer constant, such as a shape, by absurd values."""
    integers = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT64]
    if integers:
        tensor = random_.choice(integers)
        count = random_.choice((1, 2, 4, 9))
        values = [random_.choice(ABSURD) for _ in range(count)]
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.INT64, [count], values))


def change_type(random_: random.Random, model: ModelProto) -> None:
    targets = [*model.graph.initializer, *(value.type.tensor_type for value in model.graph.input)]
    target = random_.choice(targets)
    name = "data_type" if isinstance(target, TensorProto) else "elem_type"
    setattr(target, name, random_.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 16, 22, 99)))


def change_attribute(random_: random.Random, model: ModelProto) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = random_.choice(attributes)
    if attribute.ints:
        attribute.ints[random_.randrange(len(attribute.ints))] = random_.choice(ABSURD)
        if random_.random() < 0.3:
            attribute.ints.append(random_.choice(ABSURD))
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = random_.choice(ABSURD)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = random_.choice((float("nan"), float("inf"), -1e38, 0.0))
    else:
        attribute.type = random_.randrange(15)


def change_operator(random_: random.Random, model: ModelProto) -> None:
    node = random_.choice(model.graph.node)
    others = ("Loop", "If", "Scan", "Resize", "Tile", "Expand", "Range", "ConstantOfShape", "Pad", "OneHot", "Nonsense")
    others += (
        "MatMul",
        "Conv",
        "Reshape",
        "Transpose",
        "LSTM",
        "TopK",
        "NonZero",
        "SequenceConstruct",
        "Einsum",
        "RoiAlign",
    )
    node.op_type = random_.choice(others)
    if random_.random() < 0.2:
        node.domain = "com.vendor"


def remove_something(random_: random.Random, model: ModelProto) -> None:
    graph = model.graph
    field = random_.choice((graph.node, graph.initializer, graph.input, graph.output, model.opset_import))
    if field:
        del field[random_.randrange(len(field))]


def repeat_something(random_: random.Random, model: ModelProto) -> None:
    graph = model.graph
    field = random_.choice((graph.node, graph.initializer, graph.input, graph.output, model.opset_import))
    if field:
        field.append(field[random_.randrange(len(field))])


def change_version(random_: random.Random, model: ModelProto) -> None:
    if random_.random() < 0.2:
        model.ir_version = random_.choice((-1, 0, 3, 5, 10, 13, 14, 1 << 40))
    elif model.opset_import:
        model.opset_import[0].version = random_.choice((-1, 0, *range(6, 28), 1 << 40))


def make_external(random_: random.Random, model: ModelProto) -> None:
    if model.graph.initializer:
        tensor = random_.choice(model.graph.initializer)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(
            key="location", value=random_.choice(("../x", "/dev/zero", "input.onnx", "request.json", ""))
        )
        tensor.external_data.add(key="length", value=str(random_.choice(ABSURD)))


BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    truncate,
    flip_bits,
    flip_structure,
    delete_bytes,
    repeat_bytes,
)
FIELDS: tuple[Callable[[random.Random, ModelProto], None], ...] = (
    swap_names,
    change_dims,
    change_constant,
    change_type,
    change_attribute,
    change_operator,
    remove_something,
    repeat_something,
    change_version,
    make_external,
)


def mutate(random_: random.Random, data: bytes) -> tuple[str, bytes]:
    """One mutation of an ONNX file: what was done, and the result."""
    if random_.random() < 0.4:
        change = random_.choice(BYTES)
        return change.__name__, change(random_, data)
    model = ModelProto.FromString(data)
    changes = [random_.choice(FIELDS) for _ in range(random_.choice((1, 1, 1, 2, 3)))]
    for change_fields in changes:
        change_fields(random_, model)
    try:
        return changes[0].__name__, model.SerializeToString()
    except (DecodeError, ValueError):
        return "unchanged", data
