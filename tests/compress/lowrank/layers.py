"""Layers drawn by hypothesis, and how far two ways to compute one may differ."""

from __future__ import annotations

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor, nn


@st.composite
def convolutions(draw: st.DrawFn, *, square: bool = False) -> tuple[nn.Conv2d, Tensor]:
    """A convolution, random in every property that factors must keep, and an input."""
    number = st.integers
    height = draw(number(1, 3))
    kernel = (height, height if square else draw(number(1, 3)))
    inputs, outputs = draw(number(1, 6)), draw(number(1, 6))
    dilation = draw(st.tuples(number(1, 2), number(1, 2)))
    size = draw(st.tuples(number(5, 9), number(5, 9)))
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding = draw(st.one_of(st.tuples(number(0, 2), number(0, 2)), st.sampled_from(["same", "valid"])))
    stride = (1, 1) if padding == "same" else draw(st.tuples(number(1, 3), number(1, 3)))
    assume(all(n > d * (k - 1) for n, d, k in zip(size, dilation, kernel, strict=True)))
    torch.manual_seed(draw(number(0, 1000)))
    layer = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        bias=draw(st.booleans()),
        padding_mode=mode,
    )
    return layer, torch.randn(2, inputs, *size)


def rounding(chain: nn.Sequential, x: Tensor) -> Tensor:
    """A bound of the difference between a layer and its exact factors, both in float32.

    Each factor rounds its weights, and sums n products, to (n + 2) u of the sum of their absolute values; these sums
    pass through the factors' absolute values, so that the bound is (sum of n + 2) u times what the chain gives with all
    absolute values, twice: once for the layer, which sums fewer.
    """
    terms = 0
    magnitude = x.double().abs()
    for part in chain:
        terms += part.weight[0].numel() + 2
        absolute = type(part).__new__(type(part))
        absolute.__dict__.update(part.__dict__)
        absolute._parameters = {
            n: None if p is None else p.detach().double().abs() for n, p in part._parameters.items()
        }
        magnitude = absolute(magnitude)
    return 2 * terms * torch.finfo(torch.float32).eps * magnitude.detach()
