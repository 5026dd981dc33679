"""A model in two parts, so that the libraries' C++ side copies only the small one: the graph, and the large weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgesmith.errors import UnsupportedOp
from edgesmith.frontend.library import guarded
from edgesmith.frontend.limits import SKELETON_ELEMENTS
from edgesmith.frontend.structure import label, remove_unused
from edgesmith.frontend.tensors import element_count

__all__ = ["Skeleton"]


class Skeleton:
    """A model whose large initialisers are kept apart.

    Args:
        model: taken over; its initialisers must have passed ``tensors.check_data`` and hold their own data.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.weights: dict[str, TensorProto] = {}
        self.adopt(_drain(model))

    @property
    def opset(self) -> int:
        """Version of the standard operator set that the model imports."""
        return int(self.model.opset_import[0].version)

    def adopt(self, tensors: list[TensorProto]) -> None:
        """Add initialisers, each to the part that its size asks for."""
        small = []
        for tensor in tensors:
            if element_count(tensor.dims, tensor.name) > SKELETON_ELEMENTS:
                self.weights[tensor.name] = tensor
            else:
                small.append(tensor)
        self.model.graph.initializer.extend(small)

    def constants(self) -> dict[str, TensorProto]:
        """Every initialiser by name."""
        return {tensor.name: tensor for tensor in chain(self.model.graph.initializer, self.weights.values())}

    def through(self, task: str, function: Callable[[ModelProto], ModelProto]) -> None:
        """Replace the graph by ``function`` of it; large weights appear to the function as graph inputs."""
        graph = self.model.graph
        count = len(graph.input)
        inputs = list(graph.input)
        graph.input.extend(
            helper.make_tensor_value_info(name, tensor.data_type, tensor.dims) for name, tensor in self.weights.items()
        )
        try:
            result = guarded(task, function, self.model)
        finally:
            del graph.input[count:]
        del result.graph.input[:]
        result.graph.input.extend(inputs)
        self.model = result

    def lift_constants(self) -> None:
        """Turn Constant nodes into initialisers of the same name."""
        graph = self.model.graph
        lifted = [node for node in graph.node if node.op_type == "Constant"]
        if lifted:
            others = [node for node in graph.node if node.op_type != "Constant"]
            del graph.node[:]
            graph.node.extend(others)
            self.adopt([_constant(node) for node in lifted])

    def remove_unused(self) -> None:
        """Drop nodes and initialisers that no output needs."""
        needed = remove_unused(self.model.graph)
        small = [tensor for tensor in self.model.graph.initializer if tensor.name in needed]
        if len(small) < len(self.model.graph.initializer):
            del self.model.graph.initializer[:]
            self.model.graph.initializer.extend(small)
        self.weights = {name: tensor for name, tensor in self.weights.items() if name in needed}


def _drain(model: ModelProto) -> list[TensorProto]:
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    return tensors


def _values(attribute: AttributeProto) -> Iterator[np.ndarray]:
    match attribute.name:
        case "value_float" | "value_floats":
            yield np.array(attribute.f if attribute.name == "value_float" else attribute.floats, dtype=np.float32)
        case "value_int" | "value_ints":
            yield np.array(attribute.i if attribute.name == "value_int" else attribute.ints, dtype=np.int64)
        case "value_string" | "value_strings":
            strings = [attribute.s] if attribute.name == "value_string" else list(attribute.strings)
            array = np.array(strings, dtype=object)
            yield array.reshape(()) if attribute.name == "value_string" else array


def _constant(node: NodeProto) -> TensorProto:
    if len(node.attribute) != 1 or len(node.output) != 1 or node.attribute[0].name == "sparse_value":
        raise UnsupportedOp("only a Constant with one dense value is supported", where=label(node))
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    for array in _values(attribute):
        return numpy_helper.from_array(array, node.output[0])
    raise UnsupportedOp(f"a Constant with {attribute.name!r} is not supported", where=label(node))
