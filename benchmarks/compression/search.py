"""Pruning ratios by search, within half of the predicted milliseconds on this machine: which method leaves most.

python benchmarks/compression/search.py --data fashion_mnist --seeds 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from experiment import Experiment, parsed
from pruning import BATCH, BATCHES, FINE_TUNING
from torch import nn
from training import accuracy, train

import edgesmith
from edgesmith.compress.counting import macs
from edgesmith.compress.prune import IMPORTANCE, analyse, prune, recalibrate
from edgesmith.compress.prune.scoring import Scoring, cross_entropy
from edgesmith.compress.search import Group, Problem, Trials, layer_features, search, uniform

NETWORK = "resnet"
BUDGET = 0.5
"""Of the whole network's predicted milliseconds."""
VALIDATION = 2000
"""Training pictures by which searches decide."""
SCORING = 4
"""Batches by which what is left of a network is scored anew."""
STEP = 8
"""Channels that go together."""
METHODS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "netadapt": {"saving": 0.04},
    "amc": {"episodes": 100, "warm_up": 30},
    "evolution": {"population": 10, "generations": 9},
    "optuna": {"trials": 100},
}


def problem(experiment: Experiment, network: nn.Module, seed: int) -> Problem:
    """Groups in steps of ``STEP`` channels; the cost is a share of the whole network's milliseconds."""
    data = experiment.some(BATCHES, BATCH, seed)
    train_set = experiment.pictures[0]
    held_out = replace(train_set, images=train_set.images[-VALIDATION:], labels=train_set.labels[-VALIDATION:])
    milliseconds = edgesmith.latency(example=experiment.example)
    whole = milliseconds(network)
    structure = analyse(network, experiment.example)
    features = layer_features(network, experiment.example)
    scores = IMPORTANCE["taylor"](Scoring(structure, data, cross_entropy, seed))

    def pruned(module: nn.Module, ratios: Mapping[str, float]) -> nn.Module:
        own: dict[str, Any] = {"importance": "taylor", "data": data[:SCORING]}
        if module is network:
            own = {"importance": lambda _: scores, "structure": structure}
        return prune(module, experiment.example, ratios=dict(ratios), max_ratio=0.999, **own).module

    def evaluate(module: nn.Module) -> float:
        recalibrate(module, data)
        return accuracy(module, held_out)

    return Problem(
        network,
        [Group(g.name, g.size, STEP, STEP, features.get(g.layers[0], ())) for g in structure.groups],
        pruned,
        lambda module: milliseconds(module) / whole,
        BUDGET,
        evaluate,
    )


def searched(experiment: Experiment, method: str, seed: int) -> dict[str, float]:
    """Accuracies before and after the fine-tuning that ``pruning.py`` gives too."""
    network = experiment.trained(NETWORK, seed)
    asked = problem(experiment, network, seed)
    record = experiment.work / experiment.data / f"search-{method}-{seed}.jsonl"
    if method == "uniform":
        trials = Trials(asked, {"method": method, "seed": seed})
        found = trials.found(uniform(trials))
    else:
        found = search(asked, method, seed=seed, record=record, **METHODS[method])
    module = found.module
    recalibrate(module, experiment.some(BATCHES, BATCH, seed))
    row = {
        "evaluated": found.trials,
        "of the time": found.cost,
        "MACs left": macs(module, experiment.example) / macs(network, experiment.example),
        "found": experiment.top1(module),
    }
    train(module, experiment.pictures[0], FINE_TUNING[experiment.data], seed)
    experiment.keep(f"searched-{method}-{seed}", module)
    return row | {"fine-tuned": experiment.top1(module)}


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        for seed, method in product(experiment.seeds, METHODS):
            experiment.once("search", f"{NETWORK} {method} {seed}", partial(searched, experiment, method, seed))
