"""Structured pruning to half of the multiply-adds, beside Torch-Pruning's magnitude pruner, fine-tuned equally long.

pip install torch-pruning
python benchmarks/compression/pruning.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from experiment import Experiment, parsed
from torch import nn
from training import Schedule, cross_entropy, train

from edgesmith.compress.counting import macs, parameters
from edgesmith.compress.prune import IMPORTANCE, GroupLasso, ScalePenalty, gradual, prune, recalibrate, stepwise

LEFT = 0.5
"""Of the multiply-adds."""
FINE_TUNING = {"fashion_mnist": Schedule(4, 0.03), "sign_language_digits": Schedule(20, 0.03, batch=64)}
NETWORKS = ("resnet", "mobilenet")
BATCHES, BATCH = 20, 128
"""Of training pictures that criteria look at."""

Way = Callable[[Experiment, nn.Module, int], nn.Module]


def in_steps(experiment: Experiment, network: nn.Module, seed: int, **options: Any) -> nn.Module:
    data = experiment.some(BATCHES, BATCH, seed)
    return stepwise(network, experiment.example, macs=LEFT, data=data, seed=seed, **options).module


def at_once(experiment: Experiment, network: nn.Module, seed: int, **options: Any) -> nn.Module:
    data = experiment.some(BATCHES, BATCH, seed)
    module = prune(network, experiment.example, macs=LEFT, data=data, seed=seed, **options).module
    recalibrate(module, data)
    return module


def after_penalty(experiment: Experiment, network: nn.Module, seed: int, penalty: str) -> nn.Module:
    """Cut after half as long a training as fine-tuning, towards channels that are zero."""
    network = copy.deepcopy(network)
    if penalty == "bn_scale":
        term, importance = ScalePenalty(network, 1e-4), "bn_scale"
    else:
        term, importance = GroupLasso(network, experiment.example, 1e-5), "l2"
    full = FINE_TUNING[experiment.data]
    train(
        network,
        experiment.pictures[0],
        Schedule(full.epochs // 2, full.rate, full.batch),
        seed,
        loss=lambda module, x, labels: cross_entropy(module, x, labels) + term(),
    )
    return at_once(experiment, network, seed, importance=importance)


def with_training(experiment: Experiment, network: nn.Module, seed: int) -> nn.Module:
    """Five cuts by Taylor, with half as long a training as fine-tuning spread between them."""
    data, full = experiment.some(BATCHES, BATCH, seed), FINE_TUNING[experiment.data]
    between = Schedule(max(1, full.epochs // 10), full.rate / 3, full.batch)
    left = full.epochs // 2

    def finetune(module: nn.Module) -> None:
        nonlocal left
        recalibrate(module, data)
        if left > 0:
            train(module, experiment.pictures[0], between, seed)
            left -= between.epochs

    module, _ = gradual(network, experiment.example, finetune, macs=LEFT, steps=5, data=data, importance="taylor")
    return module


def torch_pruning(experiment: Experiment, network: nn.Module, seed: int, everywhere: bool) -> nn.Module:
    """Magnitude pruning (L2) by DepGraph (arXiv:2301.12900), at the most MACs that are not above ``LEFT``."""
    import torch_pruning as tp

    whole = macs(network, experiment.example)
    low, high, best = 0.0, 1.0, network
    for _ in range(12):
        ratio = (low + high) / 2
        pruned = copy.deepcopy(network)
        tp.pruner.MagnitudePruner(
            pruned,
            experiment.example,
            importance=tp.importance.MagnitudeImportance(p=2),
            global_pruning=everywhere,
            pruning_ratio=ratio,
            ignored_layers=[pruned.classifier],
        ).step()
        if macs(pruned, experiment.example) <= LEFT * whole:
            high, best = ratio, pruned
        else:
            low = ratio
    return best


MAIN: dict[str, Way] = {
    "torch-pruning": partial(torch_pruning, everywhere=False),
    "torch-pruning global": partial(torch_pruning, everywhere=True),
    "stepwise taylor": partial(in_steps, importance="taylor"),
    "stepwise taylor, multiples of 16": partial(in_steps, importance="taylor", round_to=16),
}
OTHERS: dict[str, Way] = {
    "at once, taylor": partial(at_once, importance="taylor"),
    "at once, taylor, mean compensated": partial(at_once, importance="taylor", compensation="mean"),
    "at once, taylor, rescaled": partial(at_once, importance="taylor", compensation="rescale"),
    "gradual taylor, half as many epochs more": with_training,
    "BN L1, half as many epochs more": partial(after_penalty, penalty="bn_scale"),
    "group lasso, half as many epochs more": partial(after_penalty, penalty="lasso"),
}
CRITERIA: dict[str, Way] = {f"stepwise {name}": partial(in_steps, importance=name) for name in IMPORTANCE}
WAYS = MAIN | OTHERS | CRITERIA


def cut(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    """Accuracy without fine-tuning, which a criterion alone decides."""
    network = experiment.trained(name, seed)
    module = WAYS[way](experiment, network, seed).eval()
    left = macs(module, experiment.example) / macs(network, experiment.example)
    return {"MACs left": left, "pruned": experiment.top1(module)}


def pruned(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    network = experiment.trained(name, seed)
    module = WAYS[way](experiment, network, seed)
    module.eval().to(memory_format=torch.channels_last)
    row: dict[str, float] = {
        "float": experiment.top1(network),
        "MACs left": macs(module, experiment.example) / macs(network, experiment.example),
        "parameters left": parameters(module) / parameters(network),
        "pruned": experiment.top1(module),
    }
    key = f"pruned-{name}-{way}-{seed}"
    checkpoint = experiment.checkpoint(key)
    train(module, experiment.pictures[0], FINE_TUNING[experiment.data], seed, checkpoint=checkpoint)
    row["fine-tuned"] = experiment.top1(module)
    experiment.keep(key, module)
    return row


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        networks = [name for name in NETWORKS if name in experiment.networks]
        for seed, name, way in product(experiment.seeds, networks, WAYS):
            if way in MAIN or (experiment.data, name) == ("sign_language_digits", NETWORKS[0]):
                experiment.once("pruning", f"{name} {way} {seed}", partial(pruned, experiment, name, way, seed))
        for seed, way in product(experiment.seeds, CRITERIA):
            compute = partial(cut, experiment, NETWORKS[0], way, seed)
            experiment.once("criteria", f"{NETWORKS[0]} {way} {seed}", compute)
