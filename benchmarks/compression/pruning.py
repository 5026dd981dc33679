"""Structured pruning to half of the multiply-adds, beside Torch-Pruning's magnitude pruner, fine-tuned equally long.

pip install torch-pruning
python benchmarks/compression/pruning.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from experiment import Experiment, parsed
from torch import nn
from training import Schedule, train

from edgesmith.compress.counting import macs, parameters
from edgesmith.compress.prune import stepwise

LEFT = 0.5
"""Of the multiply-adds."""
FINE_TUNING = {"fashion_mnist": Schedule(4, 0.03), "sign_language_digits": Schedule(20, 0.03, batch=64)}
NETWORKS = ("resnet", "mobilenet")
BATCHES, BATCH = 20, 128
"""Of training pictures that criteria look at."""


def ours(experiment: Experiment, network: nn.Module, seed: int, importance: str, round_to: int = 1) -> nn.Module:
    data = [b for b, _ in zip(experiment.pictures[0].batches(BATCH, seed), range(BATCHES), strict=False)]
    return stepwise(
        network, experiment.example, macs=LEFT, importance=importance, data=data, round_to=round_to, seed=seed
    ).module


def torch_pruning(experiment: Experiment, network: nn.Module, seed: int, everywhere: bool) -> nn.Module:
    """Magnitude pruning (L2) by DepGraph (arXiv:2301.12900), at the largest ratio that leaves ``LEFT``."""
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


WAYS: dict[str, Callable[[Experiment, nn.Module, int], nn.Module]] = {
    "torch-pruning": partial(torch_pruning, everywhere=False),
    "torch-pruning global": partial(torch_pruning, everywhere=True),
    "stepwise taylor": partial(ours, importance="taylor"),
    "stepwise taylor, multiples of 8": partial(ours, importance="taylor", round_to=8),
}


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
        for name, seed, way in product(networks, experiment.seeds, WAYS):
            experiment.once("pruning", f"{name} {way} {seed}", partial(pruned, experiment, name, way, seed))
