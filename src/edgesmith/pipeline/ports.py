"""Inputs and outputs in the integers that a quantised network computes with, instead of f32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.passes import optimize
from edgesmith.passes.quantized_values import Quantization, quantization
from edgesmith.pipeline.source import Arrays

__all__ = ["PORT_TYPES", "Ports", "ports_of"]

MODEL, QUANTIZED = PORT_TYPES = ("model", "quantized")
"""What inputs, or outputs, are: as the model declares them; integers instead of floats."""
HINT = f"Leave them as they are ({MODEL}), or quantise the whole model."


@dataclass(frozen=True)
class Ports:
    """A graph some of whose inputs and outputs are integers in the place of floats.

    Nothing is lost: the model rounds those inputs to these integers first, and computes those outputs from these.

    Args:
        quantizations: how the integers of each stand for numbers; inputs and outputs that are not among them are as the
            model declares them.
    """

    graph: Graph
    quantizations: Mapping[str, Quantization] = field(default_factory=dict)

    def floats(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """The model's inputs for inputs of the graph."""
        found = {}
        for value, array in feeds.items():
            known = self.quantizations.get(value)
            found[value] = (array.astype(np.float32) - known.zero) * known.scale if known else array
        return found

    def integers(self, results: Arrays) -> dict[str, np.ndarray]:
        """The graph's outputs for outputs of the model."""
        found = {}
        for value, array in results.items():
            known = self.quantizations.get(value)
            if known:
                steps = np.rint(array / known.scale) + known.zero
                array = np.clip(steps, *known.dtype.limits).astype(known.dtype.numpy)
            found[value] = array
        return found


def ports_of(graph: Graph, inputs: str = MODEL, outputs: str = MODEL) -> Ports:
    """The graph with inputs and outputs as they are wanted, each one of ``PORT_TYPES``.

    Raises:
        BadInput: the model does not round a float input to integers before anything else, or computes a float output
            from something else than integers.
    """
    for given, where in ((inputs, "input-type"), (outputs, "output-type")):
        if given not in PORT_TYPES:
            raise BadInput(f"{given!r} is not one of {', '.join(PORT_TYPES)}", where=where)
    if (inputs, outputs) == (MODEL, MODEL):
        return Ports(graph)
    ports = Ports(optimize(graph)[0])
    if inputs == QUANTIZED:
        for value in _floats(ports.graph, ports.graph.inputs):
            ports = _with_input(ports, value)
    if outputs == QUANTIZED:
        for value in _floats(ports.graph, ports.graph.outputs):
            ports = _with_output(ports, value)
    return ports


def _floats(graph: Graph, values: tuple[str, ...]) -> list[str]:
    return [v for v in dict.fromkeys(values) if graph.type(v).dtype is DType.F32]


def _with_input(ports: Ports, value: str) -> Ports:
    graph = ports.graph
    readers = graph.consumers[value]
    found = [quantization(graph, n, "QuantizeLinear") if n.inputs[0] == value else None for n in readers]
    known = found[0] if found else None
    if known is None or any(f != known for f in found) or value in graph.outputs:
        raise BadInput(f"is read as floats{_by(readers)}", where=f"input {value!r}", hint=HINT)
    made = {n.outputs[0]: value for n in readers}
    if made.keys() & set(graph.outputs):
        raise BadInput("is an output too, as integers", where=f"input {value!r}", hint=HINT)
    return _edited(ports, {n.name for n in readers}, made, value, known)


def _with_output(ports: Ports, value: str) -> Ports:
    graph = ports.graph
    node = graph.producer(value)
    known = quantization(graph, node, "DequantizeLinear")
    if node is None or known is None or graph.consumers[value] or graph.outputs.count(value) > 1:
        raise BadInput(f"is computed in floats{_by((node,) if node else ())}", where=f"output {value!r}", hint=HINT)
    source = node.inputs[0]
    if source in (*graph.inputs, *graph.outputs, *graph.constants):
        raise BadInput("is an input, a constant or another output, as integers", where=f"output {value!r}", hint=HINT)
    return _edited(ports, {node.name}, {source: value}, value, known)


def _by(nodes: tuple[Node, ...]) -> str:
    names = ", ".join(dict.fromkeys(n.op.name for n in nodes))
    return f" (by {names})" if names else ""


def _edited(ports: Ports, removed: set[str], names: Mapping[str, str], value: str, known: Quantization) -> Ports:
    """Without some conversions between ``value`` and the integers that get its name."""
    graph = ports.graph

    def renamed(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(v, v) for v in values)

    kept = [n for n in graph.nodes if n.name not in removed]
    nodes = tuple(Node(n.name, n.op, renamed(n.inputs), renamed(n.outputs), n.origin) for n in kept)
    read = {v for n in nodes for v in n.read} | set(graph.outputs)
    types = {v: t for v, t in graph.types.items() if v not in names and (v not in graph.constants or v in read)}
    types[value] = TensorType(graph.type(value).shape, known.dtype)
    constants = {v: a for v, a in graph.constants.items() if v in read}
    edited = Graph(graph.inputs, graph.outputs, nodes, types, constants, graph.name)
    edited.check()
    return replace(ports, graph=edited, quantizations={**ports.quantizations, value: known})
