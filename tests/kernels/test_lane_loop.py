"""The loops in assembly of AArch64: every remainder of steps, tiles of many shapes, few rows with many streams."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.lane_loop import REGISTERS, LaneLoop, LaneWindow
from edgesmith.ops.base import Case
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.window import Window
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial
from foreign import foreign_target, missing_emulator

from .problems import Check, case_graph, failures, feeds, places, references, with_epilogue
from .test_foreign import ForeignTrials


def layer(rows: int, steps: int, channels: int) -> Case:
    rng = np.random.default_rng(steps)
    weights = rng.standard_normal((steps, channels)).astype(np.float32)
    return Case(Gemm(), (TensorType((rows, steps), DType.F32), weights, np.ones(channels, np.float32)))


def convolution(channels: int, filters: int, taps: int, stride: int, size: tuple[int, int]) -> Case:
    weights = np.random.default_rng(taps).standard_normal((filters, channels, taps, taps)).astype(np.float32)
    window = Window((taps, taps), (stride, stride), (taps // 2,) * 2, (taps // 2,) * 2, (1, 1))
    return Case(Conv(window, 1), (TensorType((1, channels, *size), DType.F32), weights, np.ones(filters, np.float32)))


def every_schedule(name: str, case: Case, target: Target, planes: bool = False) -> Iterator[Check]:
    """Checks of a kernel; ``planes``: a convolution whose input has channels outermost."""
    graph = with_epilogue(case_graph(case))
    assert graph is not None
    where = places(graph, "row_major" if isinstance(case.op, Gemm) else "channels_last")
    if planes:
        where |= {v: places(graph, "row_major")[v] for v in graph.nodes[0].inputs[:1]}
    kernel = KERNELS[name]
    problem = Problem(graph, list(kernel.regions(graph, graph.nodes[0]))[-1], where, target)
    assert kernel.accepts(problem) is None
    values = feeds(graph)
    for schedule in kernel.schedules(problem):
        expected, tolerances = references(graph, values, {graph.nodes[0].name: (kernel, schedule)})
        label = f"{name} {case.inputs[0]} {schedule}"
        yield Check(label, Trial(problem, kernel, schedule), values, expected, tolerances)


@pytest.mark.toolchain
def test_every_remainder(tmp_path: Path) -> None:
    """At the programs' own level of optimisation: what compilers do with the sums is what could go wrong."""
    if missing := missing_emulator("neon"):
        pytest.skip(missing)
    target = foreign_target("neon")
    cases = [("gemm", layer(13, steps, 28)) for steps in (4, 6, 8, 11, 12, 23)]
    cases += [("gemv", layer(rows, steps, 173)) for rows, steps in ((1, 40), (1, 45), (2, 39))]
    cases += [("direct", convolution(13, 28, 3, 2, (9, 11)))]
    todo = [c for name, case in cases for c in every_schedule(name, case, target)]
    for case in (
        convolution(3, 28, 3, 2, (13, 27)),
        convolution(1, 12, 5, 1, (7, 19)),
        convolution(3, 8, 7, 2, (9, 30)),
    ):
        todo += every_schedule("direct", case, target, planes=True)
    todo += list(every_schedule("winograd", convolution(3, 20, 7, 2, (13, 27)), target, planes=True))[::4]
    todo += list(every_schedule("winograd", convolution(12, 20, 3, 1, (13, 17)), target))[::4]
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path, ()))
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])


def test_registers_and_instructions() -> None:
    target = parse("raspberry-pi-4")
    for rows, vectors in product(range(1, 31), repeat=2):
        loop = LaneLoop.of(target, rows, [vectors], 64)
        assert (loop is not None) == (rows * (vectors + 1) + 2 <= REGISTERS), (rows, vectors)
        if loop:
            assert loop.sums + loop.registers <= REGISTERS
            assert loop.steps * vectors % loop.group == 0
    square = LaneLoop.of(target, 4, [4], 64)
    assert square is not None
    assert square.steps * square.instructions_per_step == 128 + 4 + 8 + 2
    assert LaneLoop.of(target, 4, [4], 3) is None
    wide, in_order = (LaneLoop.of(parse(name), 4, [5], 64) for name in ("raspberry-pi-4", "raspberry-pi-3"))
    assert wide and in_order
    assert (wide.held, wide.groups, in_order.held, in_order.groups) == (2, 1, 1, 2)
    assert LaneLoop.of(parse("x86_64-linux-gnu+avx512"), 4, [4], 64) is None


def test_registers_of_windows() -> None:
    """Three taps at stride 2: six columns of four vectors take all registers, seven take too many."""
    target = parse("raspberry-pi-4")
    for rows, fits in ((6, True), (7, False)):
        taps = [[(r, 2 * r + k) for r in range(rows)] for k in range(3)]
        window = LaneWindow.of(target, taps, 4)
        assert (window is not None) == fits
        if window:
            assert 4 * rows + window.registers == REGISTERS
    assert LaneWindow.of(parse("x86_64-linux-gnu+avx512"), [[(0, 0), (1, 3)]], 1) is None
