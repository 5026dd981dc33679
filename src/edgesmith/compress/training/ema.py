"""Moving average of weights (Polyak averaging), which often evaluates better than the last weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """Averages of a module's parameters and floating-point buffers; other buffers, and extra state, are copied.

    Args:
        module: what is averaged.
        decay: weight of the past at each update; during the first updates it is at most ``(1 + n) / (10 + n)``.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self._decay, self._updates = decay, 0
        self._average = _copied(module)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present weights in."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        for name, value in module.state_dict().items():
            self._take(name, value, 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Give the module the averages as its weights."""
        module.load_state_dict(self._average)

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """The module has the averages within the block, such as for an evaluation."""
        own = _copied(module)
        self.copy_to(module)
        try:
            yield
        finally:
            module.load_state_dict(own)

    def state_dict(self) -> dict[str, int | dict[str, Any]]:
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: dict[str, int | dict[str, Any]]) -> None:
        average, updates = state["average"], state["updates"]
        assert isinstance(average, dict) and isinstance(updates, int)
        self._updates = updates
        for name, value in average.items():
            self._take(name, value, 1.0)

    def _take(self, name: str, value: Any, share: float) -> None:
        if not isinstance(value, Tensor):
            self._average[name] = copy.deepcopy(value)
        elif value.dtype.is_floating_point and share < 1:
            self._average[name].lerp_(value, share)
        else:
            self._average[name].copy_(value)


def _copied(module: nn.Module) -> dict[str, Any]:
    return {
        k: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in module.state_dict().items()
    }
