"""Moving average of weights (Polyak averaging), which often evaluates better than the last weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """Averages of a module's parameters and floating-point buffers; other buffers are copied.

    Args:
        module: what is averaged.
        decay: weight of the past at each update; during the first updates it is at most ``(1 + n) / (10 + n)``.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self._decay, self._updates = decay, 0
        self._average = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present weights in."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self._average[name].lerp_(value, 1 - decay)
            else:
                self._average[name].copy_(value)

    def copy_to(self, module: nn.Module) -> None:
        """Give the module the averages as its weights."""
        module.load_state_dict(self._average)

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """The module has the averages within the block, such as for an evaluation."""
        own = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.copy_to(module)
        try:
            yield
        finally:
            module.load_state_dict(own)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: dict[str, int | dict[str, Tensor]]) -> None:
        average, updates = state["average"], state["updates"]
        assert isinstance(average, dict) and isinstance(updates, int)
        self._updates = updates
        for name, value in average.items():
            self._average[name].copy_(value)
