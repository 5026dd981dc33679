"""What rounding one value, or the weights of one layer, does to the results of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgesmith.ir import Graph, Node, Patch, apply
from edgesmith.ops.movement import Movement
from edgesmith.ops.quantize_linear import DequantizeLinear, QuantizeLinear
from edgesmith.ops.softmax import Softmax
from edgesmith.passes.editing import Names
from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.products import Product
from edgesmith.quantize.run import Runner

__all__ = ["OutputNoise"]

Feeds = Mapping[str, np.ndarray]
CONSTANT = 1e-6
"""An output whose variance is a smaller share of its power than this is taken to have so much."""


@dataclass(frozen=True, eq=False)
class OutputNoise:
    """Measures the noise that reaches the outputs of a float graph when a part of it is rounded.

    It is the share of their variance over the runs (of one run: of their power), summed over outputs. An output's mean
    error does not count (corrected biases undo it), and where a Softmax makes the output, what it reads is compared:
    probabilities say little about errors as long as the decision is clear. What overflows does not count.

    Args:
        runs: inputs of a few runs.
    """

    graph: Graph
    runs: tuple[Feeds, ...]

    @cached_property
    def _exact(self) -> dict[str, np.ndarray]:
        return self._results(self.graph)

    def of_value(self, value: str, parameters: QParams) -> float:
        """The noise from rounding a value where other nodes read it."""
        names = Names(self.graph)
        scale, zero, integers, rounded = (names(f"{value}:{what}") for what in ("scale", "zero", "integers", "rounded"))
        readers = self.graph.consumers[value]
        nodes = (
            Node(names(f"{value}:quantize"), QuantizeLinear(parameters.dtype), (value, scale, zero), (integers,)),
            Node(names(f"{value}:dequantize"), DequantizeLinear(), (integers, scale, zero), (rounded,)),
            *(replace(n, inputs=tuple(rounded if v == value else v for v in n.inputs)) for n in readers),
        )
        constants = {scale: parameters.scale, zero: parameters.zero}
        removed = frozenset(n.name for n in readers)
        return self._noise(apply(self.graph, [Patch("output-noise", removed, nodes, constants)]))

    def of_weights(self, form: Product, parameters: QParams) -> float:
        """The noise from rounding the weights of a node to nearest."""
        rounded = Names(self.graph)(f"{form.node.inputs[1]}:rounded")
        changed = replace(form.node, inputs=(form.input, rounded, *form.node.inputs[2:]))
        weights = parameters.dequantize(parameters.quantize(form.weights))
        return self._noise(
            apply(self.graph, [Patch("output-noise", frozenset((form.node.name,)), (changed,), {rounded: weights})])
        )

    def _noise(self, graph: Graph) -> float:
        noise = 0.0
        for value, got in self._results(graph).items():
            exact = self._exact[value]
            finite = np.isfinite(exact) & np.isfinite(got)
            error = np.subtract(got, exact, out=np.zeros_like(exact), where=finite)
            signal = np.where(finite, exact, 0.0)
            power = float(np.square(signal).sum())
            if len(self.runs) > 1:
                error, signal = error - error.mean(axis=0), signal - signal.mean(axis=0)
            least = max(CONSTANT * power, np.finfo(np.float64).tiny)
            noise += float(np.square(error).sum() / max(np.square(signal).sum(), least))
        return noise

    def _results(self, graph: Graph) -> dict[str, np.ndarray]:
        """Values that decide, (runs, ...) in f64."""
        values = list(dict.fromkeys(_before_softmax(self.graph, v) for v in self.graph.outputs))
        runner = Runner(graph, values, optimized=False)
        found: dict[str, list[np.ndarray]] = {v: [] for v in values}
        for feeds in self.runs:
            for piece in runner(feeds):
                for value, array in piece.items():
                    found[value].append(array.astype(np.float64))
        return {v: np.stack(arrays) for v, arrays in found.items()}


def _before_softmax(graph: Graph, value: str) -> str:
    """What the Softmax reads that makes a value, perhaps in another shape; the value itself where there is none."""
    node = graph.producer(value)
    while node is not None and isinstance(node.op, Movement):
        node = graph.producer(node.inputs[0])
    return node.inputs[0] if node is not None and isinstance(node.op, Softmax) else value
