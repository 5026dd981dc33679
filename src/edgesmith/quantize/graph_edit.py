"""How the rewritten form of a graph is collected."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgesmith.ir import Graph, Node, Patch, apply
from edgesmith.passes.editing import Names

__all__ = ["GraphEdit"]


@dataclass
class GraphEdit:
    """Collects the nodes that change and those that come."""

    graph: Graph
    insert: list[Node] = field(default_factory=list, init=False)
    constants: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    removed: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.names = Names(self.graph)

    def patched(self) -> Graph:
        if not self.insert:
            return self.graph
        patch = Patch("quantize", frozenset(self.removed), tuple(self.insert), self.constants)
        return apply(self.graph, [patch])
