"""Several devices or machines, by Lightning Fabric (``pip install edgesmith[distributed]``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # type: ignore[import-not-found, unused-ignore]

__all__ = ["FabricEngine"]


class FabricEngine:
    """The engine of a launched ``Fabric``, which ``fit(..., fabric=fabric)`` makes.

    Each process calls ``fit`` with the same arguments::

        fabric = Fabric(accelerator="cuda", devices=4, precision="bf16-mixed")
        fabric.launch()
        fit(module, data, settings, folder=Path("run"), fabric=fabric)

    Checkpoints are written by the first process and read by all, so the folder must be one that all machines see.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._extra: tuple[nn.Parameter, ...] = ()
        self.device: torch.device = fabric.device
        self.rank: int = fabric.global_rank
        self.world: int = fabric.world_size

    def prepare(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, extra: Sequence[nn.Module]
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        self._extra = tuple(p for part in extra for p in part.parameters() if p.requires_grad)
        for part in extra:
            self.equalise(part)
        prepared = self._fabric.setup(module, optimiser)
        return cast(tuple[nn.Module, torch.optim.Optimizer], prepared)

    def autocast(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._fabric.autocast()
        return context

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        if self.world == 1:
            return nullcontext()
        wrapped: Any = module
        context: AbstractContextManager[Any] = self._fabric.no_backward_sync(wrapped, enabled=not last)
        return context

    def backward(self, loss: Tensor) -> None:
        self._fabric.backward(loss)

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Also averages the gradients of extra modules, which Fabric's wrapper of the module does not see."""
        for parameter in self._extra:
            if parameter.grad is not None:
                parameter.grad = self.mean(parameter.grad)
        scaler = getattr(self._fabric.strategy.precision, "scaler", None)
        if scaler is not None:
            scaler.unscale_(getattr(optimiser, "optimizer", optimiser))

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        optimiser.step()

    def agree(self, value: int) -> int:
        return int(self._fabric.broadcast(value)) if self.world > 1 else value

    def mean(self, value: Tensor) -> Tensor:
        return cast(Tensor, self._fabric.all_reduce(value, reduce_op="mean")) if self.world > 1 else value

    def gathered(self, value: Any) -> list[Any]:
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, value)
        return found

    @torch.no_grad()
    def equalise(self, module: nn.Module) -> None:
        if self.world > 1:
            for value in module.state_dict().values():
                torch.distributed.broadcast(value, src=0)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._fabric.strategy.precision.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._fabric.strategy.precision.load_state_dict(state)
