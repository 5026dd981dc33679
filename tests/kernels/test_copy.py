"""Copies of several parts with the same rows: one loop writes them all."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType, View
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.move import Move, Moves
from edgesmith.ops import Array
from edgesmith.ops.base import Case
from edgesmith.ops.concat import Concat
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import case_graph, feeds, places

pytestmark = pytest.mark.toolchain

WIDTHS = (1, 3, 8, 17, 29, 2, 130)


@pytest.mark.parametrize("layout", ["row_major", "channels_last", "part"])
def test_parts_of_every_width(layout: str) -> None:
    target = parse("native")
    graph = case_graph(Case(Concat(1), tuple(TensorType((2, n, 7, 5), DType.F32) for n in WIDTHS)))
    kernel = KERNELS["copy"]
    (region,) = kernel.regions(graph, graph.nodes[0])
    problem = Problem(graph, region, places(graph, layout), target)
    assert kernel.accepts(problem) is None
    values = feeds(graph)
    library = TrialLibrary([Trial(problem, kernel, {})], target, flags=("-Werror", "-O1"))
    for apart in (False, True):
        (found,) = library.run(0, values, apart=apart).values()
        np.testing.assert_array_equal(found, np.concatenate([values[v] for v in graph.inputs], 1))


def test_equal_rows_are_written_together() -> None:
    target = parse("native")

    def move(rows: int, width: int, start: int) -> Move:
        source = View.dense(TensorType((rows, width), DType.F32))
        whole = View.dense(TensorType((rows, 64), DType.F32))
        return Move(Array("x0", source), Array("y0", whole.slice((0, start), (rows, width), (1, 1))), target)

    moves = [move(50, 20, 0), move(50, 1, 20), move(49, 7, 30), move(50, 9, 40)]
    groups = Moves.together(moves)
    assert [len(g.moves) for g in groups] == [3, 1]
    assert sum(sum(g.piece_bytes) for g in groups) == sum(m.nbytes for m in moves)
    assert all(len(g.piece_bytes) == g.pieces for g in groups)
