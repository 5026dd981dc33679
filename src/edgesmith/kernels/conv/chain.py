"""Chains of pointwise and depthwise convolutions over blocks of output rows: their stages, sizes and predicted time.

A depthwise convolution stands in the middle; a pointwise one may come before it (it expands) and after it (it
projects).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import Place, Problem
from edgesmith.kernels.conv.depthwise import Depthwise
from edgesmith.kernels.conv.row import Columns, columns, cover
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.gemm.packed import Product
from edgesmith.kernels.region import Region, epilogue_chains, region
from edgesmith.kernels.tile import Panels, TileShape
from edgesmith.ops import Elementwise
from edgesmith.ops.conv import Conv

__all__ = ["Chain", "Pattern", "Tiling", "balanced", "chain_regions", "is_depthwise", "is_pointwise"]

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Pattern:
    """Which pointwise convolutions a chain has around its depthwise one."""

    expands: bool
    projects: bool

    @property
    def length(self) -> int:
        return 1 + self.expands + self.projects

    def fits(self, graph: Graph, node: Node, index: int) -> bool:
        """Whether a node may be the convolution at a position of the chain."""
        return is_depthwise(graph, node) if index == self.expands else is_pointwise(node)


def is_pointwise(node: Node) -> bool:
    """Whether a node is a 1x1 convolution of every pixel."""
    op = node.op
    return (
        isinstance(op, Conv)
        and op.group == 1
        and set(op.window.kernel + op.window.strides) == {1}
        and not any(op.window.pads_begin + op.window.pads_end)
    )


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether a node is a convolution with one filter a channel."""
    channels = graph.type(node.inputs[0]).shape[1:2] if isinstance(node.op, Conv) else ()
    return channels == graph.type(node.outputs[0]).shape[1:2] == (getattr(node.op, "group", 0),)


def chain_regions(graph: Graph, anchor: Node, pattern: Pattern) -> Iterator[Region]:
    """Regions that begin with ``anchor`` and follow a pattern, with ever more operators after the last convolution.

    What lies between the convolutions has no other reader.
    """
    nodes: list[Node] = []
    convolution: Node | None = anchor
    for index in range(pattern.length):
        if convolution is None or not pattern.fits(graph, convolution, index):
            return
        grown = list(epilogue_chains(graph, convolution))
        if index == pattern.length - 1:
            for last in grown:
                whole = sorted(
                    {n.name: n for n in (*nodes, *last.nodes)}.values(), key=lambda n: graph.position[n.name]
                )
                found = region(graph, whole, anchor)
                if len(found.outputs) == 1:
                    yield found
            return
        longest = grown[-1]
        if len(longest.outputs) != 1:
            return
        nodes += longest.nodes
        convolution = graph.sole_consumer(longest.outputs[0])


@dataclass(frozen=True)
class Tiling:
    """The free choices.

    Args:
        rows: output rows of a block; a multiple of ``lines``, or all.
        expand, project: register tiles of the products (None without the product).
        columns: output columns of a depthwise tile.
        vectors: of channels of a depthwise tile of one row; with ``expand`` whole tiles fill its width. With ``lines``,
            of those that one tile after the other goes through: the width of ``expand``, or all.
        lines: output rows of a two-dimensional depthwise tile; 0: tiles of one row, for windows of any size.
    """

    rows: int
    expand: TileShape | None
    columns: int
    vectors: int
    project: TileShape | None
    lines: int = 0

    def schedule(self) -> dict[str, int]:
        found = {"rows": self.rows, "columns": self.columns, "vectors": self.vectors}
        if self.lines:
            found["lines"] = self.lines
        if self.expand:
            found |= {"expand_rows": self.expand.rows, "expand_vectors": self.expand.vectors}
        if self.project:
            found |= {"project_rows": self.project.rows, "project_vectors": self.project.vectors}
        return found

    @classmethod
    def of(cls, schedule: Mapping[str, int]) -> Tiling:
        def tile(name: str) -> TileShape | None:
            rows = schedule.get(f"{name}_rows")
            return TileShape(rows, schedule[f"{name}_vectors"]) if rows else None

        lines = schedule.get("lines", 0)
        return cls(schedule["rows"], tile("expand"), schedule["columns"], schedule["vectors"], tile("project"), lines)


def balanced(length: int, most: int) -> list[tuple[int, int]]:
    """Tiles of nearly equal size that cover a length, none larger than ``most``: (size, how many) pairs."""
    tiles = -(-length // most)
    small, large = divmod(length, tiles) if tiles else (0, 0)
    return [(size, count) for size, count in ((small + 1, large), (small, tiles - large)) if count]


class Chain:
    """A chain behind a problem; when ``reject`` says why there is none, nothing else is defined.

    Each convolution with its elementwise operators is a problem of its own, in which values between the convolutions
    lie densely, channels innermost.
    """

    problems: Sequence[Problem]
    depthwise: Problem
    expand: Product | None = None
    project: Product | None = None

    def __init__(self, problem: Problem, pattern: Pattern) -> None:
        self.problem, self.pattern = problem, pattern
        self.reject = self._split()

    def _split(self) -> str | None:
        problem, graph = self.problem, self.problem.graph
        stages = _stages(problem)
        if len(problem.region.outputs) != 1:
            return "an intermediate value is needed elsewhere"
        if len(stages) != self.pattern.length:
            return f"{len(stages)} convolutions, needs {self.pattern.length}"
        for i, stage in enumerate(stages):
            if not self.pattern.fits(graph, stage[0], i):
                return f"{stage[0].name} is no {'depthwise' if i == self.pattern.expands else 'pointwise'} convolution"
            if not all(isinstance(n.op, Elementwise) for n in stage[1:]):
                return "an operator between the convolutions is not elementwise"
        self.problems = problems = _problems(problem, stages)
        if any(
            before.region.outputs != stage[0].inputs[:1] for before, stage in zip(problems, stages[1:], strict=False)
        ):
            return "the convolutions do not follow one another"
        self.depthwise = problems[self.pattern.expands]
        if self.pattern.expands:
            self.expand = Product(problems[0])
        if self.pattern.projects:
            self.project = Product(problems[-1])
        for part in (self.expand, self.project):
            if part and part.reject:
                return f"{part.problem.anchor.name}: {part.reject}"
        rejected = Depthwise().accepts(self.depthwise)
        return f"{self.depthwise.anchor.name}: {rejected.reason}" if rejected else None

    @cached_property
    def op(self) -> Conv:
        op = self.depthwise.anchor.op
        assert isinstance(op, Conv)
        return op

    @cached_property
    def x(self) -> View:
        """Input of the depthwise convolution."""
        return self.depthwise.view(self.depthwise.anchor.inputs[0])

    @cached_property
    def y(self) -> View:
        """Output of the depthwise convolution."""
        return self.depthwise.view(self.depthwise.region.outputs[0])

    @cached_property
    def epilogue(self) -> Epilogue:
        """What follows the depthwise convolution."""
        return Epilogue(self.depthwise)

    @property
    def lanes(self) -> int:
        return self.problem.target.lanes

    @property
    def channels(self) -> int:
        return self.y.shape[1]

    def panels(self, tiling: Tiling) -> Panels:
        """Expanded channels in the portions in which they go through the chain."""
        return Panels(self.channels, self.lanes, tiling.expand.vectors if tiling.expand else tiling.vectors)

    @property
    def ring_columns(self) -> int:
        """Columns of an expanded row with the zeros before and behind it."""
        window = self.op.window
        reach = (self.y.shape[3] - 1) * window.strides[1] + (window.kernel[1] - 1) * window.dilations[1] + 1
        return max(reach, window.pads_begin[1] + self.x.shape[3])

    def ring_rows(self, rows: int) -> int:
        """Input rows that a block of output rows reads."""
        window = self.op.window
        reach = (rows - 1) * window.strides[0] + (window.kernel[0] - 1) * window.dilations[0] + 1
        return min(reach, self.x.shape[2])

    def ring_floats(self, tiling: Tiling) -> int:
        """Room for the expanded rows of a block: (panel, row, column, channel of the panel)."""
        if not tiling.expand:
            return 0
        panels = self.panels(tiling)
        return panels.count * self.ring_rows(tiling.rows) * self.ring_columns * panels.vectors * panels.lanes

    def block_floats(self, tiling: Tiling) -> int:
        """Room for the depthwise results of a block: (panel, pixel, channel of the panel)."""
        if not tiling.project:
            return 0
        panels = self.panels(tiling)
        return panels.count * tiling.rows * self.y.shape[3] * panels.vectors * panels.lanes

    def scratch_bytes(self, tiling: Tiling) -> int:
        return FLOAT_BYTES * (self.ring_floats(tiling) + self.block_floats(tiling))

    def tiles(self, most: int) -> tuple[Columns, ...]:
        """Depthwise tiles of at most so many columns from left to right; rows of the ring have no edges."""
        window, width = self.op.window, self.y.shape[3]
        if not self.pattern.expands:
            return columns(window, self.x.shape[3], width, most)
        found, first = [], 0
        for size, count in balanced(width, most):
            found.append(Columns(first, count, size, (tuple(range(size)),) * window.kernel[1]))
            first += size * count
        return tuple(found)

    def lines(self, most: int) -> tuple[Columns, ...]:
        """Two-dimensional depthwise tiles from top to bottom, as high as they can be: none is in two blocks."""
        height = self.y.shape[2]
        sizes = tuple(min(most, height - first) for first in range(0, height, most))
        return cover(self.op.window, self.x.shape[2], sizes, axis=0)


def _stages(problem: Problem) -> list[tuple[Node, ...]]:
    """Each convolution of a region with the operators between it and the next one."""
    found: list[list[Node]] = []
    for node in problem.region.nodes:
        if isinstance(node.op, Conv) or not found:
            found.append([])
        found[-1].append(node)
    return [tuple(s) for s in found]


def _problems(problem: Problem, stages: Sequence[Sequence[Node]]) -> list[Problem]:
    graph = problem.graph
    regions = [region(graph, s, s[0]) for s in stages]
    between = {v for r in regions[:-1] for v in r.outputs}
    places = dict(problem.places) | {v: Place(v, View.dense(graph.type(v), (0, 2, 3, 1))) for v in between}
    return [Problem(graph, r, places, problem.target) for r in regions]
