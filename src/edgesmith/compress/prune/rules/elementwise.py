"""Operations on one element at a time: labels of operands that meet are the same channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgesmith.compress.prune.labels import FIXED
from edgesmith.compress.prune.propagation import Call, Propagation
from edgesmith.compress.prune.rules.registration import rule

__all__ = ["ELEMENTWISE", "combine"]

_FUNCTIONS = (
    "add sub mul div truediv floordiv floor_divide mod remainder pow neg abs exp log log1p sqrt rsqrt square "
    "reciprocal iadd isub imul itruediv relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid "
    "hardtanh sigmoid "
    "tanh softplus softsign logsigmoid threshold clamp clamp_min clamp_max clip sin cos erf sign round floor ceil "
    "maximum minimum where lerp addcmul eq ne lt le gt ge logical_and logical_or logical_not masked_fill dropout "
    "dropout1d dropout2d dropout3d alpha_dropout stochastic_depth drop_path zeros_like ones_like full_like empty_like "
    "contiguous clone detach to type float half double bfloat16 long int bool type_as requires_grad nan_to_num "
    "hardshrink softshrink tanhshrink rsub"
)
_MODULES = (
    "ReLU ReLU6 LeakyReLU RReLU ELU SELU CELU GELU SiLU Mish Hardswish Hardsigmoid Hardtanh Sigmoid Tanh Softplus "
    "Softsign LogSigmoid Threshold Hardshrink Softshrink Tanhshrink Dropout Dropout1d Dropout2d Dropout3d AlphaDropout "
    "FeatureAlphaDropout Identity"
)


_CASTS = frozenset(("to", "type_as"))
ELEMENTWISE = frozenset(_FUNCTIONS.split())
"""Names of functions and methods."""


@rule(*(ELEMENTWISE - _CASTS), *_MODULES.split())
def _elementwise(call: Call) -> Any:
    operands = call.operands()
    if not operands:
        return call.opaque("")
    return combine(call.p, operands, call.node.name).expand(call.out.sizes)


@rule(*_CASTS)
def _cast(call: Call) -> Any:
    """The value as another type, which may be given as a tensor that has it."""
    return call.input()


@rule("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor")
def _new(call: Call) -> Any:
    """Constants beside a value, whose type alone they take; sizes that are numbers of channels hold these."""
    return torch.tensor(FIXED).expand(call.out.sizes)


@rule("glu", "GLU")
def _gated(call: Call) -> Any:
    """Halves of an axis meet: a channel goes together with its gate."""
    x = call.input()
    dim = call.module.dim if call.module is not None else call.get(1, "dim", -1)
    return combine(call.p, x.chunk(2, dim), call.node.name).expand(call.out.sizes)


def combine(p: Propagation, operands: Sequence[torch.Tensor], node: str) -> torch.Tensor:
    """Labels of operands under broadcasting: those that meet along an axis of channels go together."""
    result = operands[0]
    for other in operands[1:]:
        result = _pair(p, result, other, node)
    return p.labels.canonical(result)


def _pair(p: Propagation, a: torch.Tensor, b: torch.Tensor, node: str) -> torch.Tensor:
    shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call, unused-ignore]
    a, b = (p.labels.canonical(t.reshape([1] * (len(shape) - t.ndim) + list(t.shape))) for t in (a, b))
    a_varies, b_varies = p.labels.varying(a), p.labels.varying(b)
    spread_b = any(b.shape[axis] == 1 for axis in a_varies)
    spread_a = any(a.shape[axis] == 1 for axis in b_varies)
    if spread_a and spread_b:
        for operand in (a, b):
            p.labels.fix(operand, f"{node} combines channels of two axes")
        return torch.tensor(FIXED).expand(shape)
    if spread_a or spread_b:
        kept, spread = (a, b) if spread_b else (b, a)
        p.labels.fix(spread, f"{node} spreads it over all channels")
        return kept.expand(shape)
    if not a_varies and not b_varies:
        return (a if bool((a != FIXED).any()) else b).expand(shape)
    axes = {*a_varies, *b_varies}
    small = [torch.Size(n if axis in axes else 1 for axis, n in enumerate(shape))] * 2
    left, right = (t[tuple(slice(None) if axis in axes else slice(1) for axis in range(t.ndim))] for t in (a, b))
    p.labels.unify(left.expand(small[0]), right.expand(small[1]), f"{node} combines it with what is fixed")
    both_fixed = bool((a == FIXED).all())
    return p.labels.canonical((b if both_fixed else a).expand(shape))
