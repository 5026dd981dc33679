"""Depthwise sums of bytes in 16 bits, for the weights that are worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgesmith.ir import DType, TensorType
from edgesmith.kernels.integer.depthwise_bytes import runs
from edgesmith.ops.base import Case
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.window import Window
from foreign import foreign_target, missing_emulator

from .problems import checks, failures
from .test_foreign import ForeignTrials

CHANNELS = 37
"""Two tiles of registers, a vector, and a lane."""


@given(arrays(np.int16, st.tuples(st.integers(1, 6), st.integers(1, 25)), elements=st.integers(-128, 127)))
def test_no_run_exceeds_16_bits(weights: np.ndarray) -> None:
    found = runs(weights)
    assert [e for r in found for e in range(r.first, r.last + 1)] == list(range(weights.shape[1]))
    for run in found:
        part = weights[:, run.first : run.last + 1].astype(np.int64)
        largest = np.where(part < 0, -128, 127) * part
        smallest = np.where(part < 0, 127, -128) * part
        assert largest.sum(1).max() <= 32767
        assert smallest.sum(1).min() >= -32768


def test_runs_are_as_long_as_they_can_be() -> None:
    assert [(r.first, r.last) for r in runs(np.full((3, 9), 28))] == [(0, 8)]
    assert [(r.first, r.last) for r in runs(np.full((1, 4), -127))] == [(0, 1), (2, 3)]
    assert [(r.first, r.last) for r in runs(np.full((1, 3), -128))] == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.toolchain
@pytest.mark.parametrize("isa", ["neon", "rvv128", "rvv256"])
def test_weights_at_the_ends_of_their_range(isa: str, tmp_path: Path) -> None:
    if missing := missing_emulator(isa):
        pytest.skip(missing)
    rng, target, todo = np.random.default_rng(3), foreign_target(isa), []
    for dtype, size, stride in ((DType.U8, 3, 1), (DType.I8, 3, 2), (DType.U8, 5, 1)):
        weights = rng.choice([-128, 127, 0], (CHANNELS, 1, size, size)).astype(np.int8)
        op = ConvInteger(Window((size, size), (stride, stride), (1, 1), (1, 1), (1, 1)), CHANNELS)
        x = TensorType((1, CHANNELS, 9, 9), dtype)
        case = Case(op, (x, weights, np.array(dtype.limits[0], dtype.numpy)), "extreme")
        todo += checks(case, f"extreme {dtype} {size}", target, ["integer-depthwise-bytes"])
    assert todo
    todo = todo[:: 3 if isa == "neon" else 9]
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, "\n".join(wrong)
