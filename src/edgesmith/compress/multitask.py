"""Several tasks on one encoder: the module, and losses that combine the tasks'.

    network = multitask("mobilenet-v2", {"digit": 10, "colour": 3}, image_size=28, reduction=4)
    loss = UncertaintyWeighted({"digit": cross_entropy, "colour": cross_entropy})
    loss(network(pictures), {"digit": digits, "colour": colours}).backward()

``edgesmith.from_torch(network, example)`` compiles it: the outputs are called like the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.training.batches import Batch
from edgesmith.errors import BadInput
from edgesmith.zoo import torch as zoo

__all__ = ["MultiTask", "OfExamples", "TaskLoss", "UncertaintyWeighted", "Weighted", "multitask"]

TaskLoss = Callable[[Tensor, Tensor], Tensor]
"""The loss of one task, a scalar, from its output (N, ...) and target, such as ``functional.cross_entropy``."""


class MultiTask(nn.Module):
    """One encoder, and a head for every task; gives the heads' outputs by task.

    Args:
        encoder: gives features (N, K).
        heads: modules by task, on those features.
    """

    def __init__(self, encoder: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.encoder(x)
        return {task: head(features) for task, head in self.heads.items()}


def multitask(
    encoder: str | nn.Module,
    heads: Mapping[str, int | nn.Module],
    *,
    features: int | None = None,
    seed: int = 0,
    **options: Any,
) -> MultiTask:
    """Heads on a network of the zoo, or on any encoder.

    Args:
        encoder: a zoo network's name, used up to its pooled features, or a module that gives features (N, K).
        heads: by task, a module on the features, or a number of outputs for one fully connected layer.
        features: K, where the encoder is a module and a head is a number.
        seed: decides the weights of a zoo network and of heads that are numbers.
        options: for ``edgesmith.zoo.torch.encoder``, such as ``width``, ``image_size`` or ``reduction``.

    Raises:
        BadInput: there is no head, K is unknown, or the network has no features of a whole picture.
    """
    if not heads:
        raise BadInput("no heads", where="multitask", hint="Name a head for each task.")
    if isinstance(encoder, str):
        encoder, features = zoo.encoder(encoder, seed=seed, **options)
    elif options:
        raise BadInput(f"a module takes no {', '.join(options)}", where="multitask", hint="Build it that way.")
    generator = torch.Generator().manual_seed(seed)
    return MultiTask(encoder, {task: _head(task, head, features, generator) for task, head in heads.items()})


def _head(task: str, head: int | nn.Module, features: int | None, generator: torch.Generator) -> nn.Module:
    if isinstance(head, nn.Module):
        return head
    if features is None or head < 1:
        why = f"{head} outputs" if head < 1 else "nothing says how many features the encoder gives"
        raise BadInput(why, where=f"task {task!r}", hint="Pass features=K and a head of 1 output or more.")
    layer = nn.Linear(features, head)
    if not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return layer


class Weighted(nn.Module):
    """The weighted sum of the tasks' losses.

    Called with the outputs and the targets by task. A task without a target counts nothing, so that batches may be
    labelled for some of the tasks.

    Args:
        losses: by task; parameters of those that are modules are this module's.
        weights: by task, 1 where a task has none.

    Raises:
        BadInput: a weight is of no task; when called, a target is of no task or output, or there is no target at all.
    """

    def __init__(self, losses: Mapping[str, TaskLoss], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.losses = dict(losses)
        self._of_modules = nn.ModuleList(loss for loss in losses.values() if isinstance(loss, nn.Module))
        self.weights = dict.fromkeys(losses, 1.0) | dict(weights or {})
        _known(self.weights, self.losses)

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        _known(targets, self.losses)
        _known(targets, outputs)
        if not targets:
            raise BadInput("no targets", where="loss of several tasks", hint="Give those of one task at least.")
        parts = [self.weighted(task, self.losses[task](outputs[task], target)) for task, target in targets.items()]
        return torch.stack(parts).sum()

    def weighted(self, task: str, loss: Tensor) -> Tensor:
        """What a task adds."""
        return self.weights[task] * loss


class UncertaintyWeighted(Weighted):
    """Weights that are learned as the uncertainty of each task (Kendall et al., arXiv:1705.07115).

    A task adds ``loss / sigma^2 + log sigma``, or ``loss / (2 sigma^2) + log sigma`` where it is a regression whose
    loss is a squared error (equations 10 and 7). ``log_variance`` holds ``log sigma^2`` of every task and is trained
    with the network: give ``loss.parameters()`` to the optimiser too, without weight decay.

    Args:
        losses: by task.
        regressions: the tasks whose loss is a squared error.
    """

    def __init__(self, losses: Mapping[str, TaskLoss], regressions: Collection[str] = ()) -> None:
        super().__init__(losses, dict.fromkeys(regressions, 0.5))
        self.log_variance = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in losses})

    def weighted(self, task: str, loss: Tensor) -> Tensor:
        log_variance = self.log_variance[task]
        weighted: Tensor = self.weights[task] * torch.exp(-log_variance) * loss + log_variance / 2
        return weighted


class OfExamples:
    """A loss of several tasks for ``training.fit``, whose batches have labels of one: targets are found by example.

    Args:
        loss: as ``Weighted``; one with parameters of its own also goes to ``fit(extra=...)``.
        targets: by task, one for each example of the training data, in its order.
    """

    def __init__(self, loss: Weighted, targets: Mapping[str, Tensor]) -> None:
        self._loss, self._targets = loss, dict(targets)

    def of_batch(self, module: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch, by the indices of its examples."""
        found = {task: target[batch.indices.cpu()].to(batch.inputs.device) for task, target in self._targets.items()}
        combined: Tensor = self._loss(module(batch.inputs), found)
        return combined


def _known(given: Collection[str], tasks: Collection[str]) -> None:
    unknown = sorted(set(given) - set(tasks))
    if unknown:
        raise BadInput(
            f"no such task: {', '.join(unknown)}", where="loss of several tasks", hint=f"Tasks: {', '.join(tasks)}."
        )
