"""Transposed convolutions as convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import Graph
from edgesmith.ops.conv_transpose import ConvTranspose
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

RULE = "transposed-convolution"


def graph(
    kernel: tuple[int, int],
    stride: int,
    pads: tuple[int, int] = (0, 0),
    extra: tuple[int, int] = (0, 0),
    *,
    group: int = 1,
    bias: bool = True,
) -> Graph:
    s = Sketch()
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((6, 4 // group, *kernel)).astype(np.float32)
    operands = [s.input(2, 6, 5, 7), s.constant(weights)]
    if bias:
        operands.append(s.constant(rng.standard_normal(4).astype(np.float32)))
    window = Window(kernel, (stride, stride), pads, pads, (1, 1))
    return s.graph(s.add(ConvTranspose(window, extra, group), *operands))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (graph((2, 2), 2), ["Conv", "DepthToSpace"]),
        (graph((3, 3), 3, bias=False), ["Conv", "DepthToSpace"]),
        (graph((4, 4), 2, (1, 1)), ["Conv", "DepthToSpace", "Slice"]),
        (graph((3, 3), 2, (1, 1), (1, 1)), ["Conv", "DepthToSpace", "Slice"]),
        (graph((3, 5), 2, (0, 2)), ["Conv", "DepthToSpace", "Slice"]),
        (graph((3, 3), 1), ["Conv"]),
        (graph((3, 3), 1, (1, 1)), ["Conv", "Slice"]),
        (graph((1, 1), 2), ["Conv", "DepthToSpace", "Slice"]),
    ],
)
def test_phases(before: Graph, after: list[str]) -> None:
    assert kinds(optimized(before, RULE)[0]) == after


def test_groups_stay() -> None:
    result, report = optimized(graph((2, 2), 2, group=2), RULE)
    assert kinds(result) == ["ConvTranspose"] and len(report.skipped) == 1
