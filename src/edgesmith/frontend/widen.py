"""Models in fp16 or bf16 become models that compute in f32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["widen"]

_TYPE_ATTRIBUTES = ("dtype", "output_dtype")
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def widen(model: ModelProto) -> ModelProto:
    """The model with f32 in the place of fp16 and bf16; without these, the model itself.

    Inputs and outputs keep their type: Casts stand between them and the f32 values. So does what the model itself casts
    to 16 bits, which keeps that rounding. All other roundings to 16 bits are gone, so results are nearer to the exact
    ones than the model's; weights are exact in f32.
    """
    return _Widening(model).model if _has_half(model) else model


def _has_half(model: ModelProto) -> bool:
    graph = model.graph
    tensors = (*(t.data_type for t in graph.initializer), *(_element(v) for v in (*graph.input, *graph.output)))
    return any(t in _HALVES for t in tensors) or any(_casts_to_half(n) or _half_attributes(n) for n in graph.node)


def _element(value: onnx.ValueInfoProto) -> int:
    return value.type.tensor_type.elem_type


def _casts_to_half(node: NodeProto) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i in _HALVES for a in node.attribute)


def _half_attributes(node: NodeProto) -> list[onnx.AttributeProto]:
    """Attributes that make such numbers out of nothing: a type, or a tensor."""
    return [
        a
        for a in node.attribute
        if (a.name in _TYPE_ATTRIBUTES and a.i in _HALVES)
        or (a.type == onnx.AttributeProto.TENSOR and a.t.data_type in _HALVES)
    ]


class _Widening:
    """One rewriting; ``model`` is its result."""

    def __init__(self, source: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(source)
        graph = self.model.graph
        self._taken = set(_names(graph))
        self._wide: dict[str, str] = {}
        """Value that stays as it is -> its f32 version."""
        self._outputs = {o.name: _element(o) for o in graph.output if _element(o) in _HALVES}
        kept = {v for n in graph.node if _casts_to_half(n) for v in n.output}
        for value in graph.value_info:
            if _element(value) in _HALVES and value.name not in kept:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        weights = {t.name for t in graph.initializer}
        nodes = [
            self._cast(value.name, self._widened(value.name), TensorProto.FLOAT)
            for value in graph.input
            if _element(value) in _HALVES and value.name not in weights
        ]
        nodes += self._weights(graph)
        for node in graph.node:
            nodes += self._node(node)
        del graph.node[:]
        graph.node.extend(nodes)

    def _fresh(self, base: str) -> str:
        name = base
        while name in self._taken:
            name += "~"
        self._taken.add(name)
        return name

    def _widened(self, value: str) -> str:
        self._wide[value] = self._fresh(f"{value}:f32")
        return self._wide[value]

    def _cast(self, source: str, target: str, to: int) -> NodeProto:
        return helper.make_node("Cast", [source], [target], self._fresh(f"{target}:cast"), to=to)

    def _weights(self, graph: GraphProto) -> Iterator[NodeProto]:
        for tensor in graph.initializer:
            if tensor.data_type in _HALVES:
                name = self._widened(tensor.name) if tensor.name in self._outputs else tensor.name
                if name != tensor.name:
                    yield self._cast(name, tensor.name, tensor.data_type)
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name))

    def _node(self, node: NodeProto) -> Iterator[NodeProto]:
        changed = NodeProto()
        changed.CopyFrom(node)
        changed.input[:] = [self._wide.get(v, v) for v in node.input]
        for attribute in _half_attributes(changed):
            if attribute.type == onnx.AttributeProto.TENSOR:
                wide = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(wide, attribute.t.name))
            else:
                attribute.i = TensorProto.FLOAT
        after = []
        for i, value in enumerate(node.output):
            if _casts_to_half(node):
                after.append(self._cast(value, self._widened(value), TensorProto.FLOAT))
            elif value in self._outputs:
                changed.output[i] = self._widened(value)
                after.append(self._cast(changed.output[i], value, self._outputs[value]))
        yield changed
        yield from after


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (t.name for t in graph.initializer)
    yield from (v.name for v in graph.input)
    for node in graph.node:
        yield from (node.name, *node.output)
