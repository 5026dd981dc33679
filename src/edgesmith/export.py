"""Graph back to ONNX, so that every stage opens in Netron and runs in ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith.errors import GraphError
from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.ir import Graph, Node, TensorType
from edgesmith.ops import Operator
from edgesmith.ops.block_scales import DequantizeLinearByBlock

__all__ = ["narrow_constants", "to_onnx"]


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model with the same names of values and nodes, checked by ``onnx.checker``.

    Raises:
        GraphError: an operator cannot be stated in ONNX, or states something that ONNX does not allow.
    """
    graph = _spelled_out(graph)
    operands: list[TensorProto] = []
    nodes = [_node(graph, node, operands) for node in graph.nodes]
    read = {v for node in graph.nodes for v in node.read} | set(graph.outputs)
    narrow = narrow_constants(graph)
    weights = [
        numpy_helper.from_array(a.astype(ml_dtypes.int4) if v in narrow else a, v)
        for v, a in graph.constants.items()
        if v in read
    ]
    proto = helper.make_graph(
        nodes,
        graph.name,
        [_value(v, graph.type(v)) for v in graph.inputs],
        [_value(v, graph.type(v)) for v in graph.outputs],
        [*weights, *operands],
        value_info=[_value(v, graph.type(v)) for n in graph.nodes for v in n.outputs if v not in graph.outputs],
    )
    model = helper.make_model(
        proto,
        ir_version=MAX_IR_VERSION,
        opset_imports=[helper.make_opsetid("", TARGET_OPSET)],
        producer_name="edgesmith",
    )
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker raises types of its own, without a common base
        raise GraphError(f"the graph is no valid ONNX model: {error}", where=graph.name) from error
    return model


def narrow_constants(graph: Graph) -> set[str]:
    """Constants that are written in 4 bits: weights in blocks that fit them, with their zero points."""
    fits: dict[str, bool] = {}
    for node in graph.nodes:
        arrays = {v: graph.constants.get(v) for v in (node.inputs[0], *node.inputs[2:])} if node.inputs else {}
        small = isinstance(node.op, DequantizeLinearByBlock) and all(
            a is not None and a.dtype == np.int8 and a.size and a.min() >= -8 and a.max() <= 7 for a in arrays.values()
        )
        for value in node.read if not small else arrays:
            fits[value] = small and fits.get(value, True)
    return {v for v, small in fits.items() if small}


def _spelled_out(graph: Graph) -> Graph:
    """The graph in operators that ONNX Runtime has."""
    nodes: list[Node] = []
    types, constants = dict(graph.types), dict(graph.constants)
    for node in graph.nodes:
        assert isinstance(node.op, Operator)
        found = node.op.spelled_out(node)
        if found is None:
            nodes.append(node)
            continue
        constants |= found[1]
        types |= {v: TensorType.of(a) for v, a in found[1].items()}
        for part in found[0]:
            types |= zip(part.outputs, part.op.infer([types[v] for v in part.inputs]), strict=True)
        nodes += found[0]
    return replace(graph, nodes=tuple(nodes), types=types, constants=constants)


def _node(graph: Graph, node: Node, operands: list[TensorProto]) -> onnx.NodeProto:
    """The node as ONNX; operands that are attributes in the graph are added to ``operands`` as initialisers."""
    assert isinstance(node.op, Operator)
    kind, attributes, trailing = node.op.to_onnx()
    inputs = list(node.inputs)
    for i, array in enumerate(trailing):
        name = "" if array is None else f"{node.name}:operand{i}"
        inputs.append(name)
        if array is not None:
            operands.append(numpy_helper.from_array(np.asarray(array), name))
    while inputs and not inputs[-1]:
        inputs.pop()
    proto = helper.make_node(kind, inputs, node.outputs, node.name)
    for key, value in attributes.items():
        if value is None:
            continue
        tensor = numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        proto.attribute.append(helper.make_attribute(key, tensor, attr_type=_empty_list_type(value)))
    return proto


def _empty_list_type(value: object) -> int | None:
    """ONNX cannot tell the type of an empty list; every list attribute of the graph holds integers."""
    return onnx.AttributeProto.INTS if isinstance(value, list) and not value else None


def _value(name: str, kind: TensorType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind.dtype.value, kind.shape)
