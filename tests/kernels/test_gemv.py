"""Fully connected layers whose channels fill several regions, not all of the same length."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.ops.base import Case
from edgesmith.ops.gemm import Gemm
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import case_graph, places, references, with_epilogue

pytestmark = pytest.mark.toolchain

STEPS = 37
SIZES = ((1, 200), (1, 173), (1, 64), (2, 97), (3, 61), (1, 19))


def layer(rows: int, channels: int) -> list[Trial]:
    rng = np.random.default_rng(channels)
    weights = rng.standard_normal((STEPS, channels)).astype(np.float32)
    bias = rng.standard_normal(channels).astype(np.float32)
    plain = case_graph(Case(Gemm(), (TensorType((rows, STEPS), DType.F32), weights, bias)))
    graph = with_epilogue(plain)
    assert graph is not None
    kernel = KERNELS["gemv"]
    region = list(kernel.regions(graph, graph.nodes[0]))[-1]
    problem = Problem(graph, region, places(graph, "row_major"), parse("native"))
    assert kernel.accepts(problem) is None
    return [Trial(problem, kernel, schedule) for schedule in kernel.schedules(problem)]


def test_every_schedule_agrees_with_the_sum() -> None:
    trials = [t for size in SIZES for t in layer(*size)]
    assert {t.schedule.get("regions", 1) for t in trials} >= {1, 3, 4, 6, 8}
    library = TrialLibrary(trials, parse("native"), flags=("-Werror", "-O1"))
    rng = np.random.default_rng(1)
    for i, trial in enumerate(trials):
        graph = trial.problem.graph
        values = {v: rng.standard_normal(graph.type(v).shape).astype(np.float32) for v in graph.inputs}
        expected, tolerances = references(graph, values)
        (output,) = graph.outputs
        whole, apart = (library.run(i, values, apart=a)[output] for a in (False, True))
        np.testing.assert_array_equal(whole, apart, err_msg=str(trial))
        assert (np.abs(whole - expected[output]) <= tolerances[output]).all(), str(trial)
