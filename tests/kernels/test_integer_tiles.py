"""Register tiles of integer sums: their shapes on cores, and forms that only some cores are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.integer.window import integer_window
from edgesmith.ops.base import Case
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.window import Window
from edgesmith.target import Target, parse
from foreign import foreign_target, missing_emulator

from .problems import case_graph, checks, failures, places, requantized
from .test_foreign import ForeignTrials


def convolution(shape: tuple[int, int, int, int], filters: int, size: int = 1, dtype: DType = DType.U8) -> Case:
    """A padded convolution whose weights and zero point are the ends of their ranges."""
    rng, pad = np.random.default_rng(7), (size // 2, size // 2)
    weights = rng.choice([-127, 127, 5], (filters, shape[1], size, size)).astype(np.int8)
    op = ConvInteger(Window((size, size), (1, 1), pad, pad, (1, 1)), 1)
    zero = np.array(dtype.limits[1], dtype.numpy)
    return Case(op, (TensorType(shape, dtype), weights, zero), f"{size}x{size} of {shape}")


def problem_of(target: Target, shape: tuple[int, int, int, int], filters: int) -> Problem:
    graph = case_graph(convolution(shape, filters))
    region = next(KERNELS["integer-tiles"].regions(graph, graph.nodes[0]))
    return Problem(graph, region, places(graph, "channels_last"), target)


def tile(target: Target, shape: tuple[int, int, int, int], filters: int) -> tuple[int, int]:
    """Rows and vectors of the tile that is predicted to be the fastest."""
    kernel, problem = KERNELS["integer-tiles"], problem_of(target, shape, filters)
    best = min(kernel.schedules(problem), key=lambda s: kernel.cost(problem, s))
    return best["rows"], best["vectors"]


@pytest.mark.parametrize("device", ["raspberry-pi-5", "rk3568"])
@pytest.mark.parametrize(("channels", "filters"), [(320, 1280), (576, 96), (96, 576)])
def test_few_loads_for_each_dot_product(device: str, channels: int, filters: int) -> None:
    rows, vectors = tile(parse(device), (1, channels, 14, 14), filters)
    assert rows * vectors >= 20
    assert vectors + rows / 4 <= 0.25 * rows * vectors


@pytest.mark.parametrize(("channels", "device", "fits"), [(60, "raspberry-pi-5", True), (60, "raspberry-pi-4", False)])
def test_sums_become_floats_without_conversions(channels: int, device: str, fits: bool) -> None:
    """Where conversions are slow and no sum can exceed what an f32 counts in ones."""
    graph = requantized(case_graph(convolution((1, channels, 2, 2), 8)))
    assert graph
    region = list(KERNELS["integer-tiles"].regions(graph, graph.nodes[0]))[-1]
    window = integer_window(Problem(graph, region, places(graph, "channels_last"), parse(device)))
    epilogue, (low, high) = window.narrow_epilogue, window.bounds
    assert (epilogue is not window.epilogue) == fits
    if fits:
        assert epilogue.less is not None and high - low > 2**20
        sums = np.array([low, high, 0, -1, (low + high) // 2], np.int32)
        floats = (sums + np.int32(epilogue.start)).view(np.float32) - np.float32(epilogue.less)
        np.testing.assert_array_equal(floats, sums.astype(np.float32))
        assert epilogue.of_bounded(low - 2**22, high + 2**22) is epilogue


@pytest.mark.toolchain
@pytest.mark.parametrize("dtype", [DType.U8, DType.I8])
def test_operands_that_are_loaded_ahead(dtype: DType, tmp_path: Path) -> None:
    if missing := missing_emulator("dotprod"):
        pytest.skip(missing)
    target = replace(foreign_target("dotprod"), cpu="cortex-a55")
    cases = [convolution((1, 70, 3, 7), 22, dtype=dtype), convolution((1, 16, 5, 6), 13, 3, dtype)]
    todo = [c for case in cases for c in checks(case, case.name, target, ["integer-tiles"])]
    todo = todo[::3]
    assert todo and all("ES_IN_ORDER" in c.trial.code.text for c in todo)
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, "\n".join(wrong)


def test_products_of_pairs_of_rows_where_they_pay() -> None:
    """Twice as many products an instruction, and more loads."""
    target = parse("graviton-3")
    problem = problem_of(target, (1, 320, 7, 7), 1280)
    least = {
        name: min(KERNELS[name].cost(problem, s) for s in KERNELS[name].schedules(problem))
        for name in ("integer-tiles", "integer-pairs")
    }
    assert least["integer-pairs"] < 0.8 * least["integer-tiles"]
    without = problem_of(parse("raspberry-pi-5"), (1, 320, 7, 7), 1280)
    assert KERNELS["integer-pairs"].accepts(without) is not None


@pytest.mark.toolchain
@pytest.mark.parametrize("dtype", [DType.U8, DType.I8])
def test_pairs_of_rows(dtype: DType, tmp_path: Path) -> None:
    """With odd numbers of rows and of channels, and weights behind the last byte of a run."""
    if missing := missing_emulator("i8mm"):
        pytest.skip(missing)
    target = foreign_target("i8mm")
    cases = [convolution((1, 21, 3, 7), 22, dtype=dtype), convolution((1, 5, 5, 3), 13, 3, dtype)]
    todo = [c for case in cases for c in checks(case, case.name, target, ["integer-pairs"])][::2]
    assert todo
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, "\n".join(wrong)
