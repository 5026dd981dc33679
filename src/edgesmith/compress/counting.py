"""Multiply-adds and parameters of a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from edgesmith.compress.tracing import as_inputs, evaluating

__all__ = ["macs", "parameters"]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call, unused-ignore]


_MORE = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # the one that PyTorch leaves out


class _Whole:
    """Instead of PyTorch's own tracker, which fails where a module gets a parameter as an input and wants gradients."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def macs(module: nn.Module, example: Any) -> int:
    """Multiply-adds of convolutions, matrix products and attention in one evaluation of ``example``.

    Args:
        example: one input, or a tuple of inputs; batches count as a whole.
    """
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is not counted
    try:
        counter = FlopCounterMode(display=False, custom_mapping=_MORE)
        counter.mod_tracker = _Whole()  # type: ignore[assignment, unused-ignore]
        with evaluating(module), counter:
            module(*as_inputs(example))
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
    return int(counter.get_total_flops()) // 2


def parameters(module: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(p.numel() for p in module.parameters())
