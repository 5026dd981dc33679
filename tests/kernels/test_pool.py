"""Every form of the pooling kernel, with several vectors and a partial one, at all edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.base import Case
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pool import Pool
from edgesmith.ops.window import Window
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import case_graph, places

pytestmark = pytest.mark.toolchain

FLAGS = ("-Werror", "-O1")


def square(kernel: int, stride: int, before: int = 0, after: int = 0, ceil: bool = False) -> Window:
    return Window((kernel,) * 2, (stride,) * 2, (before,) * 2, (after,) * 2, (1, 1), ceil)


POOLS: tuple[tuple[Pool, tuple[int, ...]], ...] = (
    (MaxPool(square(3, 1, 1, 1)), (2, 27, 5, 6)),
    (MaxPool(square(3, 2, 0, 0, True)), (1, 40, 8, 8)),
    (MaxPool(square(5, 1, 2, 2)), (1, 19, 4, 4)),
    (MaxPool(square(3, 2, 1, 0)), (1, 8, 7, 4)),
    (MaxPool(Window((3, 2), (1, 1), (0, 1), (2, 0), (2, 1))), (1, 33, 7, 3)),
    (AveragePool(square(3, 1, 1, 1)), (1, 27, 6, 5)),
    (AveragePool(square(3, 2, 1, 1, True), count_include_pad=True), (1, 24, 6, 6)),
    (AveragePool(Window((4,), (1,), (2,), (1,), (1,)), count_include_pad=True), (2, 11, 9)),
    (LpPool(square(3, 1, 1, 1), 2), (1, 17, 4, 5)),
)


def trials(op: Pool, shape: tuple[int, ...]) -> Iterator[Trial]:
    graph = case_graph(Case(op, (TensorType(shape, DType.F32),)))
    kernel = KERNELS["pool"]
    (region,) = kernel.regions(graph, graph.nodes[0])
    problem = Problem(graph, region, places(graph, "channels_last"), parse("native"))
    assert kernel.accepts(problem) is None
    for schedule in kernel.schedules(problem):
        yield Trial(problem, kernel, schedule)


def test_every_form_agrees_with_the_reference() -> None:
    made = [(op, shape, trial) for op, shape in POOLS for trial in trials(op, shape)]
    assert {t.schedule["separable"] for _, _, t in made} == {0, 1, 2}
    library = TrialLibrary([t for _, _, t in made], parse("native"), flags=FLAGS)
    rng = np.random.default_rng(0)
    for i, (op, shape, trial) in enumerate(made):
        x = rng.standard_normal(shape).astype(np.float32)
        (expected,) = op.reference(x)
        (found,) = library.run(i, {"in0": x}, apart=True).values()
        # Sums of up to nine terms near 1, each rounded once or twice.
        tolerance = 0.0 if isinstance(op, MaxPool) else 16 * np.finfo(np.float32).eps
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(x).max(), err_msg=str(trial))


def test_nan_is_no_maximum_in_any_form() -> None:
    op, shape = POOLS[0]
    made = list(trials(op, shape))
    library = TrialLibrary(made, parse("native"), flags=FLAGS)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    x[:, ::2, 1:3, 2] = np.nan
    x[:, 1, :, :] = np.nan
    x[:, 3, 2, :] = -np.inf
    (expected,) = op.reference(x)
    for i, trial in enumerate(made):
        (found,) = library.run(i, {"in0": x}).values()
        np.testing.assert_array_equal(found, expected, err_msg=str(trial))
