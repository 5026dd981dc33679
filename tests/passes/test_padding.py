"""Pad into the window of what reads it."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import Op
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.conv import Conv
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pad import Pad
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

RULE = "pad-into-window"
PAD = Pad((0, 0, 1, 0), (0, 0, 2, 1))


def window(pad: int = 0, *, ceil: bool = False, dilation: int = 1) -> Window:
    return Window((3, 3), (2, 2), (pad, pad), (pad, pad), (dilation, dilation), ceil)


def padded(pad: Pad, op: Op, *, relu: bool = False) -> Sketch:
    s = Sketch()
    x = s.input(1, 3, 8, 9)
    x = s.add(Relu(), x) if relu else x
    s.add(op, s.add(pad, x), *([s.random(4, 3, 3, 3)] if isinstance(op, Conv) else []))
    return s


LOWEST = Pad(PAD.begin, PAD.end, value=np.float32(-np.inf))


@pytest.mark.parametrize(
    ("pad", "op", "relu"),
    [
        (PAD, Conv(window()), False),
        (PAD, Conv(window(1)), False),
        (PAD, Conv(window(dilation=2)), False),
        (Pad((0, 0, 4, 5), (0, 0, 6, 4)), Conv(window()), False),
        (PAD, AveragePool(window()), False),
        (PAD, AveragePool(window(), 1), False),
        (Pad((0, 0, 1, 1), (0, 0, 1, 1)), AveragePool(window(1), 1), False),
        (LOWEST, MaxPool(window()), False),
        (PAD, MaxPool(window()), True),
    ],
    ids=str,
)
def test_goes_into(pad: Pad, op: Op, relu: bool) -> None:
    s = padded(pad, op, relu=relu)
    result, _ = optimized(s.graph(s.nodes[-1].outputs[0]), RULE, "dead-code")
    assert kinds(result) == ["Relu"] * relu + [op.name]


@pytest.mark.parametrize(
    ("pad", "op", "reason"),
    [
        (PAD, MaxPool(window()), "may be the largest element"),
        (PAD, AveragePool(window(1)), "does not count its own pads"),
        (PAD, AveragePool(window(ceil=True)), "rounded up"),
        (LOWEST, Conv(window()), "it pads with 0, not with -inf"),
        (Pad(PAD.begin, PAD.end, "edge"), Conv(window()), "not by edge"),
        (Pad((0, 0, -1, 0), FOUR := (0, 0, 0, 0)), Conv(window()), "removes elements"),
        (Pad((1, 0, 0, 0), FOUR), Conv(window()), "the batch or the channels"),
        (Pad((0, 0, 3, 0), FOUR), AveragePool(window()), "a whole window might lie in the padding"),
        (PAD, Relu(), "has no window"),
    ],
    ids=str,
)
def test_stays(pad: Pad, op: Op, reason: str) -> None:
    s = padded(pad, op)
    result, report = optimized(s.graph(s.nodes[-1].outputs[0]), RULE)
    assert kinds(result) == ["Pad", op.name]
    assert reason in report.reasons("pad0")[RULE]


def test_every_reader_has_to_accept() -> None:
    for last, expected in ((Conv(window()), ["Conv", "Conv"]), (Relu(), ["Pad", "Conv", "Relu"])):
        s = Sketch()
        pad = s.add(PAD, s.input(1, 3, 8, 9))
        y = s.add(Conv(window()), pad, s.random(4, 3, 3, 3))
        z = s.add(last, pad, *([s.random(4, 3, 3, 3)] if isinstance(last, Conv) else []))
        assert kinds(optimized(s.graph(y, z), RULE, "dead-code")[0]) == expected
