"""A model's layers: shapes, multiply-accumulates, parameters, memory traffic, and the least time on a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgesmith.ir import Graph, Node
from edgesmith.kernels.region import Region, epilogue_chains, region
from edgesmith.ops import Elementwise, Movement
from edgesmith.target import Machine
from edgesmith.target.machine import Bound

__all__ = ["Layer", "Limit", "Network", "analyze"]

_STATISTICS = {"BatchNormalization": (3, 4)}
"""Operands that hold running statistics: stored with the model, but not trained."""


@dataclass(frozen=True)
class Limit:
    """The roofline of one layer on one machine, in nanoseconds."""

    compute_ns: float
    memory_ns: float

    @property
    def ns(self) -> float:
        return max(self.compute_ns, self.memory_ns)

    @property
    def bound(self) -> Bound:
        return "compute" if self.compute_ns >= self.memory_ns else "memory"


@dataclass(frozen=True)
class Layer:
    """One operator together with the elementwise operators that can be computed on its result in passing.

    Args:
        operators: such as ``Conv+Relu``.
        detail: attributes that decide the work, such as ``3x3 s2 dw``.
        macs: multiply-accumulates of convolutions, fully connected layers and matrix products.
        flops: other operations.
        weight_bytes, activation_bytes: what must be read and written at least once.
        moves: it only rearranges data, which a plan may turn into a view at no cost.
    """

    name: str
    operators: str
    detail: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    macs: int
    flops: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    moves: bool

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: operations per byte moved, a multiply-accumulate being two."""
        return (2 * self.macs + self.flops) / self.bytes if self.bytes else 0.0

    def limit(self, machine: Machine, resident_weight_bytes: int = 0) -> Limit:
        """Least time on a machine.

        Args:
            resident_weight_bytes: weights of the whole network: from run to run they survive in a cache of that size,
                while activations come from the cache that holds one layer's.
        """
        if self.moves:
            return Limit(0.0, 0.0)
        weights = max(resident_weight_bytes, self.weight_bytes) / machine.threads
        activations = self.activation_bytes / machine.threads
        memory = machine.memory_ns(self.weight_bytes, weights) + machine.memory_ns(self.activation_bytes, activations)
        return Limit(machine.compute_ns(self.macs, self.flops), memory)

    def to_json(self) -> dict[str, Any]:
        fields = {**vars(self), "inputs": [list(s) for s in self.inputs], "outputs": [list(s) for s in self.outputs]}
        return {**fields, "bytes": self.bytes, "intensity": self.intensity}


@dataclass(frozen=True)
class Network:
    """All layers in order, and totals.

    Args:
        parameters: trained numbers as publications count them: weights, biases, scale and shift of batch normalisation.
    """

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    layers: tuple[Layer, ...]
    parameters: int

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers if not layer.moves)

    def limits(self, machine: Machine) -> tuple[Limit, ...]:
        """The roofline of every layer."""
        return tuple(layer.limit(machine, self.weight_bytes) for layer in self.layers)

    def to_json(self, machine: Machine | None = None) -> dict[str, Any]:
        layers = [layer.to_json() for layer in self.layers]
        data: dict[str, Any] = {
            "name": self.name,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "macs": self.macs,
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "activation_bytes": self.activation_bytes,
        }
        if machine is not None:
            limits = self.limits(machine)
            layers = [
                {**entry, "bound": limit.bound, "limit_ns": limit.ns}
                for entry, limit in zip(layers, limits, strict=True)
            ]
            data |= {"machine": machine.to_json(), "limit_ns": sum(limit.ns for limit in limits)}
        return {**data, "layers": layers}


def analyze(graph: Graph, original: Graph | None = None) -> Network:
    """The layers of a graph.

    Args:
        graph: what is computed; best after the passes, when batch normalisations are folded.
        original: the graph before the passes, whose parameters are counted (default: ``graph``).
    """
    seen: set[str] = set()
    layers = tuple(_layer(graph, r, seen) for r in _layers(graph))
    return Network(
        graph.name,
        {v: str(graph.type(v)) for v in graph.inputs},
        {v: str(graph.type(v)) for v in graph.outputs},
        layers,
        _trained(original or graph),
    )


def _layers(graph: Graph) -> Iterator[Region]:
    """Nodes that are not elementwise, each with the elementwise nodes that follow it; then what remains; in order."""
    taken: set[str] = set()
    found: list[Region] = []
    anchors = sorted(graph.nodes, key=lambda n: (isinstance(n.op, Elementwise), graph.position[n.name]))
    for anchor in anchors:
        if anchor.name in taken:
            continue
        best = region(graph, (anchor,), anchor)
        if not isinstance(anchor.op, Movement):
            for candidate in epilogue_chains(graph, anchor):
                if candidate.names & taken:
                    break
                best = candidate
        taken |= best.names
        found.append(best)
    yield from sorted(found, key=lambda r: graph.position[r.anchor.name])


def _layer(graph: Graph, part: Region, seen: set[str]) -> Layer:
    constants = dict.fromkeys(v for n in part.nodes for v in n.read if v in graph.constants)
    new = [v for v in constants if v not in seen]
    seen.update(new)
    costs = [graph.cost(n) for n in part.nodes]
    activations = (*part.inputs, *part.outputs)
    return Layer(
        part.anchor.name,
        part.label,
        _detail(graph, part.anchor),
        tuple(graph.type(v).shape for v in part.inputs),
        tuple(graph.type(v).shape for v in part.outputs),
        sum(c.macs for c in costs),
        sum(c.flops for c in costs),
        sum(graph.type(v).size for v in new),
        sum(graph.type(v).nbytes for v in constants),
        sum(graph.type(v).nbytes for v in activations),
        isinstance(part.anchor.op, Movement) and len(part.nodes) == 1,
    )


def _detail(graph: Graph, node: Node) -> str:
    """Window, stride, groups and dilation of operators that have them."""
    window = getattr(node.op, "window", None)
    if window is None:
        return ""
    parts = ["x".join(map(str, window.kernel))]
    for letter, values in (("s", window.strides), ("d", window.dilations)):
        if any(n != 1 for n in values):
            parts.append(letter + (str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))))
    group = getattr(node.op, "group", 1)
    if group > 1:
        channels = graph.type(node.read[0]).shape[1]
        parts.append("depthwise" if group == channels else f"g{group}")
    return " ".join(parts)


def _trained(graph: Graph) -> int:
    """Elements of the floating-point constants with more than one element, statistics left out, each constant once."""
    statistics = {n.inputs[i] for n in graph.nodes for i in _STATISTICS.get(n.op.name, ()) if i < len(n.inputs)}
    used = {v for n in graph.nodes for v in n.read if v in graph.constants} - statistics
    types = [graph.type(v) for v in used]
    return sum(t.size for t in types if t.dtype.is_float and t.size > 1)
