"""What changes while a prepared module is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.quantized_module import check_prepared
from edgesmith.compress.qat.quantizers import ActivationQuantizer, WeightQuantizer
from edgesmith.compress.qat.quantizers.inq import IncrementalWeights
from edgesmith.compress.qat.quantizers.pact import PactActivations
from edgesmith.errors import BadInput

__all__ = ["Schedule", "advance", "clipping_penalty", "decay_clipping", "freeze", "parameter_groups"]

SHARES = (0.5, 0.75, 0.875, 1.0)
"""Of weights that incremental quantisation fixes, step by step (arXiv:1702.03044, section 3.1)."""


def freeze(module: nn.Module, *, signs: bool = True) -> None:
    """Keep the statistics of batch normalisation and of values as they are from here on.

    Training then computes what evaluation computes, but for the last bits of sums and the rounding of biases, which
    evaluation adds as integers. Weights and learned scales are trained on.

    Args:
        signs: those behind ternary and binary weights, too. A sign that flips moves what a channel gives so far that
            training diverges without normalisation by batches; freeze these when it is over.

    Raises:
        BadInput: the module is not prepared.
    """
    check_prepared(module, "freeze")
    for part in module.modules():
        if isinstance(part, ActivationQuantizer) or (
            isinstance(part, QuantizedLayer) and (signs or not part.quantizer.are_signs)
        ):
            part.freeze()


def advance(module: nn.Module, share: float) -> None:
    """Fix the largest weights of layers by ``inq``, so many that ``share`` of all are fixed.

    Raises:
        BadInput: the share is not from 0 to 1, or the module is not prepared.
    """
    check_prepared(module, "advance")
    _check_share(share, "advance")
    for part in module.modules():
        if isinstance(part, QuantizedLayer) and isinstance(part.quantizer, IncrementalWeights):
            weights, _, ratio = part.folded()
            part.quantizer.advance(weights, ratio.detach(), share)


def clipping_penalty(module: nn.Module) -> Tensor | float:
    """The sum of the squares of what ``pact`` clips at, to be added to the loss times half the weight decay.

    Raises:
        BadInput: the module is not prepared.
    """
    check_prepared(module, "clipping_penalty")
    return sum((p.penalty() for p in module.modules() if isinstance(p, PactActivations)), start=0.0)


def decay_clipping(module: nn.Module, weight_decay: float) -> None:
    """Add the gradient of ``weight_decay / 2 * clipping_penalty``, as the paper has it for ``pact``; before a step.

    Raises:
        BadInput: the module is not prepared.
    """
    penalty = clipping_penalty(module)
    if weight_decay and isinstance(penalty, Tensor):
        torch.autograd.backward(penalty * (weight_decay / 2))


class Schedule:
    """Freezes statistics, and fixes weights of ``inq`` step by step, while epochs go by. For loops that want one.

    Args:
        epochs: in all.
        freeze_at: share of them after which statistics are kept; behind ternary and binary weights, after the last.
        shares: of weights fixed by ``inq``, at equal distances; the last before the last step.
    """

    def __init__(self, epochs: int, *, freeze_at: float = 2 / 3, shares: Iterable[float] = SHARES) -> None:
        if epochs < 1 or not 0 <= freeze_at <= 1:
            raise BadInput(f"{epochs} epochs, frozen after {freeze_at:g} of them", where="schedule")
        shares = tuple(shares)
        for share in shares:
            _check_share(share, "schedule: shares")
        self._epochs, self._freeze_at, self._shares = epochs, freeze_at, shares

    def on_epoch(self, module: nn.Module, epoch: int) -> None:
        """To be called before each epoch, counted from 0, and once more at the end, with ``epochs``."""
        if epoch >= self._epochs * self._freeze_at:
            freeze(module, signs=epoch >= self._epochs)
        steps = len(self._shares)
        done = min(epoch * steps // self._epochs + 1, steps) if epoch < self._epochs else steps
        if steps and done:
            advance(module, self._shares[done - 1])


def _check_share(share: float, where: str) -> None:
    if not 0 <= share <= 1:
        raise BadInput(f"a share of {share:g} is not from 0 to 1", where=where)


def parameter_groups(
    module: nn.Module, *, lr: float, weight_decay: float = 0.0, scale_lr: float | None = None
) -> list[dict[str, Any]]:
    """Parameters for an optimiser: learned scales, biases and normalisation have no weight decay.

    Args:
        lr: of weights.
        scale_lr: of learned scales (default: ``lr``). They are factors that begin at 1.
    """
    quantizers = [part for part in module.modules() if isinstance(part, ActivationQuantizer | WeightQuantizer)]
    scales = {id(p) for part in quantizers for p in part.parameters()}
    decayed = [p for p in module.parameters() if id(p) not in scales and p.ndim > 1]
    others = [p for p in module.parameters() if id(p) not in scales and p.ndim <= 1]
    groups = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": others, "lr": lr, "weight_decay": 0.0},
        {
            "params": [p for p in module.parameters() if id(p) in scales],
            "lr": lr if scale_lr is None else scale_lr,
            "weight_decay": 0.0,
        },
    ]
    return [g for g in groups if g["params"]]
