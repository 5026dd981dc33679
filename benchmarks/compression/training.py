"""A plain training loop, as a user might have written it: the methods under test plug into it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pictures import Pictures
from torch import Tensor, nn

from edgesmith.atomic import write_file

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """Epochs of SGD with momentum under a one-cycle learning rate."""

    epochs: int
    rate: float = 0.1
    batch: int = 128
    decay: float = 5e-4
    warm_up: float = 0.25


def cross_entropy(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(module(x), labels)


def accuracy(module: nn.Module, data: Pictures) -> float:
    """Top-1 in percent."""
    module.eval()
    right = 0
    with torch.no_grad():
        for begin in range(0, len(data), 500):
            part = slice(begin, begin + 500)
            right += int((module(data.inputs(part)).argmax(1) == data.labels[part]).sum())
    return 100 * right / len(data)


def train(
    module: nn.Module,
    data: Pictures,
    schedule: Schedule,
    seed: int,
    *,
    loss: Loss = cross_entropy,
    extra: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    at_epoch: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Train in place. Goes on from ``checkpoint`` (written after every epoch) where there is one.

    Args:
        extra: what ``loss`` uses and is trained as well.
        optimizer: with its own groups of parameters and their largest rates (default: SGD with momentum).
        at_epoch: called before each epoch.
    """
    parts = nn.ModuleList([module] if extra is None else [module, extra])
    optimizer = optimizer or sgd(parts, schedule)
    steps = len(data) // schedule.batch * schedule.epochs
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [g["lr"] for g in optimizer.param_groups], total_steps=steps + 1, pct_start=schedule.warm_up
    )
    first = 0
    kept = {"module": parts, "optimizer": optimizer, "rate": rate}
    if checkpoint and checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True, map_location=data.images.device)
        for name, part in kept.items():
            part.load_state_dict(saved[name])
        first = saved["epoch"]
    module.to(memory_format=torch.channels_last)
    for epoch in range(first, schedule.epochs):
        if at_epoch:
            at_epoch(epoch)
        module.train()
        total, count = torch.zeros((), device=data.images.device), 0
        for x, labels in data.batches(schedule.batch, seed * 1000 + epoch):
            value = loss(module, x, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            rate.step()
            total, count = total + value.detach(), count + 1
        print(f"  epoch {epoch + 1} of {schedule.epochs}: loss {total.item() / count:.4f}", flush=True)
        if checkpoint:
            save(checkpoint, {n: p.state_dict() for n, p in kept.items()} | {"epoch": epoch + 1})
    return module


def sgd(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """With Nesterov's momentum; biases and normalisation do not decay."""
    groups = [
        {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": schedule.decay},
        {"params": [p for p in module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, schedule.rate, momentum=0.9, nesterov=True)


def save(path: Path, state: dict) -> None:
    """Write tensors to a file that appears whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, buffer.getvalue())
