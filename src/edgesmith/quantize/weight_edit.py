"""A graph whose products get other weights, and how it is collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgesmith.ir import Graph, Node, Patch, apply
from edgesmith.passes.editing import Names
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.settings import Settings

__all__ = ["LEAST_ELEMENTS", "Rounded", "WeightEdit"]

LEAST_ELEMENTS = 256
"""Smaller constants stay f32."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """A graph with rounded weights.

    Args:
        products: nodes whose weights are rounded, by name.
        floats: why the weights of other Conv, Gemm and MatMul nodes are not, by name.
    """

    graph: Graph
    products: tuple[str, ...]
    floats: Mapping[str, str]
    notices: tuple[Notice, ...]


@dataclass
class WeightEdit:
    """Collects the nodes that change and those that come."""

    graph: Graph
    settings: Settings
    insert: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    products: list[str] = field(default_factory=list)
    floats: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = Names(self.graph)

    def result(self) -> Rounded:
        patch = Patch("quantize", frozenset(self.removed), tuple(self.insert), self.constants)
        graph = apply(self.graph, [patch]) if self.insert else self.graph
        return Rounded(graph, tuple(self.products), self.floats, tuple(self.notices))
