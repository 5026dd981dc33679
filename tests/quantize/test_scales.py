"""Scales and zero points: they cover the range, hold 0, and bias and products of scales stay representable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith.ir import DType, Node
from edgesmith.ops.gemm import Gemm
from edgesmith.quantize.insert import bias_units
from edgesmith.quantize.products import MAX_BIAS, Product
from edgesmith.quantize.scales import activation_parameters, value_parameters, weight_parameters
from edgesmith.quantize.settings import Settings

bound = st.floats(-1e6, 1e6, width=32, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-12)


@given(bound, bound, st.sampled_from([DType.U8, DType.I8, DType.I16]), st.booleans(), st.booleans())
def test_both_ends_of_a_range_are_represented(
    a: float, b: float, dtype: DType, symmetric: bool, power_of_two: bool
) -> None:
    low, high = min(a, b), max(a, b)
    q = value_parameters((low, high), dtype, symmetric=symmetric, power_of_two=power_of_two)
    scale = float(q.scale)
    assert q.dequantize(q.quantize(np.zeros(1, np.float32)))[0] == 0
    if low < high:
        for end in (min(low, 0.0), max(high, 0.0)):
            assert abs(q.dequantize(q.quantize(np.array([end], np.float32)))[0] - end) <= scale * (0.5 + 1e-3)
    if symmetric:
        assert q.zero == (128 if dtype is DType.U8 else 0)
    if power_of_two:
        assert math.frexp(scale)[0] == 0.5


def test_activations_follow_the_settings() -> None:
    affine = activation_parameters((-1.0, 3.0), Settings())
    assert (affine.dtype, int(affine.zero)) == (DType.U8, 64)
    assert float(affine.scale) == pytest.approx(4 / 255)
    signed = activation_parameters((-1.0, 3.0), Settings(activations=DType.I8, symmetric_activations=True))
    assert (signed.dtype, int(signed.zero)) == (DType.I8, 0)
    assert float(signed.scale) == pytest.approx(3 / 127)


def gemm(weights: np.ndarray, bias: np.ndarray | None = None) -> Product:
    inputs = ("x", "w") if bias is None else ("x", "w", "b")
    return Product(Node("fc", Gemm(), inputs, ("y",)), weights, 1, bias)


X = value_parameters((0.0, 2.0), DType.U8)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("power_of_two", [True, False])
def test_weights_are_within_half_a_step(per_channel: bool, symmetric: bool, power_of_two: bool) -> None:
    weights = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32) * np.float32([1, 10, 0.1, 3, 0.01])
    settings = Settings(per_channel=per_channel, symmetric_weights=symmetric, power_of_two=power_of_two)
    q = weight_parameters(gemm(weights), X, settings)
    assert q.axis == (1 if per_channel else None)
    assert q.scale.shape == ((5,) if per_channel else ())
    error = np.abs(q.dequantize(q.quantize(weights)) - weights)
    assert (error <= q.scale * (0.5 if symmetric else 1.001) * 1.001).all()
    if symmetric:
        assert not q.zero.any() and q.quantize(weights).min() >= -127


@given(
    st.lists(st.sampled_from([0.0, 1e-30, 1e-9, 0.01, 1.0, 1e5]), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.0, 1e-20, 1.0, 1e8]), min_size=3, max_size=3),
    st.booleans(),
)
def test_bias_fits_and_products_of_scales_are_normal(sizes: list[float], bias: list[float], per_channel: bool) -> None:
    weights = np.array([[1, -1, 0.5]], np.float32) * np.array(sizes, np.float32)
    form = gemm(weights, np.array(bias, np.float32))
    q = weight_parameters(form, X, Settings(per_channel=per_channel))
    units = bias_units(form, X, q)
    assert (np.abs(np.array(bias)) / units < MAX_BIAS).all()
    assert (units >= np.finfo(np.float32).tiny).all() and np.isfinite(units).all()
    assert (q.scale > 0).all()
