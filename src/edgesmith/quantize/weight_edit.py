"""A graph whose products get other weights, and how it is collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesmith.ir import Graph
from edgesmith.quantize.graph_edit import GraphEdit
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
class WeightEdit(GraphEdit):
    """Replaces the weights of products."""

    settings: Settings
    products: list[str] = field(default_factory=list)
    floats: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def result(self) -> Rounded:
        return Rounded(self.patched(), tuple(self.products), self.floats, tuple(self.notices))
