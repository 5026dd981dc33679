"""Top-1 accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.training.batches import Data
from edgesmith.compress.training.engine import autocast

__all__ = ["answer", "device_of", "evaluate", "logits_of", "modes_kept", "placed"]


def evaluate(
    module: nn.Module, data: Data, *, device: torch.device | str | None = None, amp: str | None = None
) -> float:
    """Percent of examples whose greatest output is that of their class; the module's modes stay.

    Args:
        module: gives (N, classes), or a tuple or mapping whose first value that is.
        data: such as ``train.evaluation(test_pictures)``.
        device: None: where the module is.
    """
    where = torch.device(device) if device is not None else device_of(module)
    right, seen = torch.zeros((), dtype=torch.int64, device=where), 0
    with modes_kept(module), torch.no_grad(), autocast(where, amp):
        module.eval()
        for batch in data.batches(0):
            outputs = logits_of(module(placed(batch.inputs, where)))
            right += (outputs.argmax(1) == batch.labels.to(where)).sum()
            seen += len(batch.labels)
    return 100.0 * int(right) / max(seen, 1)


def answer(module: nn.Module, inputs: Tensor) -> Tensor:
    """The first of a module's outputs for some inputs, as evaluation takes it; the module's modes stay."""
    with modes_kept(module), torch.no_grad():
        return logits_of(module.eval()(inputs))


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Afterwards every submodule is in the mode (training or evaluation) that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def logits_of(outputs: Any) -> Tensor:
    """A module's output, or the first one of several."""
    while not isinstance(outputs, Tensor):
        outputs = next(iter(outputs.values() if hasattr(outputs, "values") else outputs))
    return outputs


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def placed(inputs: Tensor, device: torch.device, channels_last: bool = True) -> Tensor:
    """On the device, pictures with channels innermost in memory."""
    if inputs.ndim == 4 and channels_last:
        return inputs.to(device, non_blocking=True, memory_format=torch.channels_last)
    return inputs.to(device, non_blocking=True)
