"""Paths on which each channel of a convolution's result can be scaled, because all its readers can undo it."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.ir import Graph, Node
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.identity import Identity
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.rectifiers import LeakyRelu
from edgesmith.ops.relu import Relu
from edgesmith.quantize.products import Product, product

__all__ = ["Path", "Sink", "scalable_paths"]

HOMOGENEOUS = (Relu, LeakyRelu, MaxPool, AveragePool, GlobalAveragePool, Identity)
"""f(x / s) = f(x) / s for s > 0, channel by channel."""


@dataclass(frozen=True)
class Sink:
    """A convolution that reads the channels, from its input channel ``first`` on."""

    node: str
    first: int


@dataclass(frozen=True)
class Path:
    """What lies between a convolution and those that read its result.

    Args:
        source: the convolution whose output channels are scaled down.
        channels: how many they are.
        values: every value that is scaled, in topological order, with the place of the first channel in it.
        bounds: upper bounds of the Clip nodes on the way.
        sinks: whose input channels are scaled up.
    """

    source: str
    channels: int
    values: tuple[tuple[str, int], ...]
    bounds: tuple[float, ...]
    sinks: tuple[Sink, ...]


def scalable_paths(graph: Graph) -> list[Path]:
    """The paths of a graph, in topological order of their sources."""
    found = []
    for node in graph.nodes:
        form = _convolution(graph, node)
        if form is not None:
            walk = _Walk(graph)
            if walk.follow(node.outputs[0], 0):
                values = tuple(dict.fromkeys(walk.values))
                found.append(Path(node.name, form.channels, values, tuple(walk.bounds), tuple(walk.sinks)))
    return found


def _convolution(graph: Graph, node: Node) -> Product | None:
    form = product(graph, node) if isinstance(node.op, Conv) else None
    return form if isinstance(form, Product) else None


class _Walk:
    """From a value to the convolutions behind it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.values: list[tuple[str, int]] = []
        self.bounds: list[float] = []
        self.sinks: list[Sink] = []

    def follow(self, value: str, first: int) -> bool:
        """Whether every reader of a value, whose channels start at ``first``, can undo a scaling of its channels."""
        if value in self._graph.outputs or not self._graph.consumers[value]:
            return False
        self.values.append((value, first))
        return all(self._reader(node, value, first) for node in dict.fromkeys(self._graph.consumers[value]))

    def _reader(self, node: Node, value: str, first: int) -> bool:
        op = node.op
        if isinstance(op, Conv):
            self.sinks.append(Sink(node.name, first))
            return node.read.count(value) == 1 and _convolution(self._graph, node) is not None
        if len(node.outputs) != 1:
            return False
        if isinstance(op, Clip):
            if op.low not in (None, 0.0) or (op.high is not None and op.high <= 0):
                return False
            self.bounds += [] if op.high is None else [op.high]
        elif isinstance(op, Concat):
            if op.axis != 1 or node.read.count(value) > 1:
                return False
            before = node.read[: node.read.index(value)]
            first += sum(self._graph.type(v).shape[1] for v in before)
        elif not isinstance(op, HOMOGENEOUS):
            return False
        return self.follow(node.outputs[0], first)
