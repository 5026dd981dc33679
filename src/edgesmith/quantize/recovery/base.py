"""What every method of accuracy recovery has in common, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from edgesmith.ir import Graph, Patch, apply
from edgesmith.passes.editing import Names
from edgesmith.quantize.implied_bounds import without_implied_bounds
from edgesmith.quantize.insert import quantized_graph
from edgesmith.quantize.parameters import Parameters
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.settings import Settings
from edgesmith.registry import Registry

__all__ = ["RECOVERIES", "Draft", "Evidence", "Recovery", "recovery"]

Progress = Callable[[int, int], None]
RUNS = 64
"""Most runs that a method looks at by itself."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A quantised model in the making.

    Args:
        exact: the float graph that the quantised one is to come near to.
        graph: the same nodes and values, with corrected biases.
        parameters: of ``graph``.
        settings: how it is quantised.
    """

    exact: Graph
    graph: Graph
    parameters: Parameters
    settings: Settings

    def quantized(self) -> Graph:
        """The graph with QuantizeLinear and DequantizeLinear."""
        if not self.parameters.weights:
            return self.exact
        return without_implied_bounds(quantized_graph(self.graph, self.parameters, self.settings))

    def with_floats(self, floats: Collection[str]) -> Draft:
        """The draft with some nodes in floats, with the biases that they have there."""
        known = self.parameters
        weights = {n: q for n, q in known.weights.items() if n not in floats}
        integers = {n: a for n, a in known.integers.items() if n not in floats}
        graph = self.graph
        for name in floats:
            node, exact = (g.nodes[g.position[name]] for g in (graph, self.exact))
            if node.inputs != exact.inputs:
                constants = {v: self.exact.constants[v] for v in exact.inputs[2:]}
                graph = apply(graph, [Patch("recovery", frozenset((name,)), (exact,), constants)])
        return replace(self, graph=graph, parameters=replace(known, weights=weights, integers=integers))

    def with_wide(self, found: Parameters) -> Draft:
        """The draft with the values wide that are so in other parameters, and what they leave of its products."""
        known = self.parameters
        values = {v: found.values[v] if v in found.wide else q for v, q in known.values.items() if v in found.values}
        weights = {n: q for n, q in known.weights.items() if n in found.weights}
        integers = {n: a for n, a in known.integers.items() if n in weights}
        return replace(self, parameters=Parameters(values, weights, integers, found.wide))

    def with_bias(self, name: str, bias: np.ndarray) -> Draft:
        """The draft with another bias (f32, one for each output channel) of the Conv or Gemm node ``name``."""
        value = Names(self.graph)(f"{name}:corrected_bias")
        node = self.graph.nodes[self.graph.position[name]]
        changed = replace(node, inputs=(*node.inputs[:2], value))
        patch = Patch("recovery", frozenset((name,)), (changed,), {value: bias.astype(np.float32)})
        return replace(self, graph=apply(self.graph, [patch]))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a method may look at.

    Args:
        samples: calibration data.
        runs: how many runs they hold.
        state: file where a method keeps what it has done so far; None: nowhere.
        progress: told (pieces done, pieces in all).
        seed: of every random choice.
        most: most runs to look at.
    """

    samples: Samples
    runs: int
    state: Path | None = None
    progress: Progress = lambda done, total: None
    seed: int = 0
    most: int = RUNS

    @property
    def used(self) -> int:
        """How many runs it gives."""
        return min(self.runs, self.most)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """The runs, evenly spaced, in the same order each time."""
        return islice(islice(self.samples, 0, None, max(self.runs // self.used, 1)), self.used)


class Recovery:
    """One method. It changes the float graph before calibration, or the draft after it, or both."""

    name: ClassVar[str]

    def prepare(self, graph: Graph, settings: Settings, evidence: Evidence) -> Graph:
        """A float graph of the same function that is easier to quantise."""
        return graph

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        """A better draft."""
        return draft


RECOVERIES: Registry[type[Recovery]] = Registry("recovery", "edgesmith.quantize.recovery")

T = TypeVar("T", bound=Recovery)


def recovery(name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: registers a method."""

    def add(cls: type[T]) -> type[T]:
        cls.name = name
        RECOVERIES.register(name)(cls)
        return cls

    return add
