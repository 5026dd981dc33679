"""LRN by roots, divisions and general powers, up to where squares overflow."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.ops.base import Case
from edgesmith.ops.lrn import LRN
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary
from instruction_sets import native_sets

from .problems import case_graph, places

pytestmark = pytest.mark.toolchain

FLAGS = ("-Werror", "-O1")

SHAPES = ((1, 40, 3, 5), (2, 7, 4), (3, 24), (1, 9, 2, 3, 2))
POWERS = (0.25, 0.5, 0.75, 1.0, 0.6)
UNITS = 12
"""Roundings of one output: of the sum of five squares, the base, its power and their product, each amplified by at most
the power; the general one rounds the logarithm, whose size is below 2 here."""


def trial(op: LRN, shape: tuple[int, ...], target: Target) -> Trial:
    graph = case_graph(Case(op, (TensorType(shape, DType.F32),)))
    kernel = KERNELS["lrn"]
    (region,) = kernel.regions(graph, graph.nodes[0])
    problem = Problem(graph, region, places(graph, "channels_last"), target)
    assert kernel.accepts(problem) is None
    return Trial(problem, kernel, {})


@pytest.mark.parametrize("isa", native_sets())
def test_every_power_and_shape(isa: str) -> None:
    target = parse(f"native+{isa}")
    ops = [LRN(5, 0.5, beta, 2.0) for beta in POWERS]
    trials = [trial(op, shape, target) for op in ops for shape in SHAPES]
    library = TrialLibrary(trials, target, flags=FLAGS)
    rng = np.random.default_rng(0)
    for i, (op, shape) in enumerate((op, shape) for op in ops for shape in SHAPES):
        x = rng.standard_normal(shape).astype(np.float32)
        (expected,) = op.reference(x)
        (found,) = library.run(i, {"in0": x}, apart=True).values()
        np.testing.assert_allclose(found, expected, rtol=UNITS * np.finfo(np.float32).eps / 2)


def test_bases_of_every_size() -> None:
    op, shape = LRN(1, 1.0, 0.75, 1e-30), (1, 256, 3, 3)
    target = parse("native")
    library = TrialLibrary([trial(op, shape, target)], target, flags=FLAGS)
    x = np.geomspace(1e-18, 1e18, int(np.prod(shape))).astype(np.float32).reshape(shape)
    (found,) = library.run(0, {"in0": x}).values()
    (expected,) = op.reference(x)
    np.testing.assert_allclose(found, expected, rtol=UNITS * np.finfo(np.float32).eps / 2)


def test_overflow_and_nan_stay_among_neighbours() -> None:
    op, shape = LRN(3, 1.0, 0.75, 1.0), (1, 16, 1, 2)
    target = parse("native")
    library = TrialLibrary([trial(op, shape, target)], target, flags=FLAGS)
    x = np.ones(shape, np.float32)
    x[0, 3, 0, 0], x[0, 8, 0, 0], x[0, 12, 0, 1] = 1e30, np.inf, np.nan
    (found,) = library.run(0, {"in0": x}).values()
    np.testing.assert_array_equal(found[0, [2, 3, 4, 7, 9], 0, 0], 0.0)
    assert np.isnan(found[0, 8, 0, 0])
    assert np.isnan(found[0, 11:14, 0, 1]).all()
    assert np.isfinite(found).sum() == found.size - 4
