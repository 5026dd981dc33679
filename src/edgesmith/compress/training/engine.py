"""Where a training loop runs: devices, precision, processes. ``LocalEngine`` is one process on one device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Engine", "LocalEngine", "autocast"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, amp: str | None) -> AbstractContextManager[Any]:
    """Mixed precision within the block; nothing for None."""
    return torch.autocast(device.type, _DTYPES[amp]) if amp else nullcontext()


class Engine(Protocol):
    """What ``fit`` asks for; ``distributed.FabricEngine`` is the one for several processes."""

    device: torch.device
    rank: int
    world: int

    def prepare(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, extra: Sequence[nn.Module]
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The module to call and the optimiser to step; ``extra`` are modules that only losses use."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for a loss."""
        ...

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around a forward and backward pass; processes exchange gradients in the last one of a step."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        ...

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Make gradients those of the loss (fp16 trains on a multiple of it)."""
        ...

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Change the parameters, unless fp16's gradients overflowed."""
        ...

    def agree(self, value: int) -> int:
        """The first process's value, in every process."""
        ...

    def mean(self, value: Tensor) -> Tensor:
        """Mean over all processes."""
        ...

    def gathered(self, value: Any) -> list[Any]:
        """Every process's value, in every process."""
        ...

    def equalise(self, module: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state of loss scaling."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class LocalEngine:
    """One process on one device.

    Args:
        device: where the module's parameters go.
        amp: ``bf16``, ``fp16`` (with a scaled loss) or None.
    """

    rank, world = 0, 1

    def __init__(self, device: torch.device, amp: str | None = None) -> None:
        self.device, self._amp = device, amp
        self._scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")

    def prepare(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, extra: Sequence[nn.Module]
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        return module, optimiser

    def autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.device, self._amp)

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(self._scaler.scale(loss))

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        self._scaler.step(optimiser)
        self._scaler.update()

    def agree(self, value: int) -> int:
        return value

    def mean(self, value: Tensor) -> Tensor:
        return value

    def gathered(self, value: Any) -> list[Any]:
        return [value]

    def equalise(self, module: nn.Module) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(state)
