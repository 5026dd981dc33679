"""Quantisation to integers, direct and after quantisation-aware training, as the compiled program computes it.

python benchmarks/compression/quantisation.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from experiment import Experiment, parsed
from training import Schedule, cross_entropy, train

import edgesmith
from edgesmith.compress import qat

NETWORKS = ("resnet", "mobilenet")
DECAY = 1e-4
"""Of weights, and of the clipping that ``pact`` learns."""
CALIBRATION = 512
"""Training pictures from which scales are first chosen."""


@dataclass(frozen=True)
class Way:
    """How a network is quantised, and trained then.

    Attributes:
        epochs: by data set.
        networks: for which it makes sense: few bits are too few for depthwise layers, and signs need values around 0.
    """

    settings: qat.Settings
    epochs: dict[str, int]
    rate: float
    networks: tuple[str, ...] = NETWORKS


SHORT = {"fashion_mnist": 1, "sign_language_digits": 10}
MIDDLE = {"fashion_mnist": 1, "sign_language_digits": 20}
LONG = {"fashion_mnist": 8, "sign_language_digits": 60}
MAIN = ("int8", "int4 weights")
ENDS = ("features.0", "classifier")
WAYS = {
    "int8": Way(qat.Settings(), SHORT, 0.005),
    "int4 weights": Way(qat.Settings(weight_bits=4), MIDDLE, 0.01),
    "int4 weights, ends int8": Way(qat.Settings(weight_bits=4, keep=ENDS), MIDDLE, 0.01),
    "int8, PACT": Way(qat.Settings(activations="pact"), SHORT, 0.005),
    "5 bits, INQ": Way(qat.Settings(weights="inq", weight_bits=5), MIDDLE, 0.01),
    "ternary (TWN)": Way(qat.Settings(weights="twn", keep=ENDS), LONG, 0.02, ("resnet",)),
    "binary weights": Way(qat.Settings(weights="binary", keep=ENDS), LONG, 0.02, ("resnet",)),
    "XNOR": Way(qat.Settings(weights="binary", activations="signs", keep=ENDS), LONG, 0.02, ("signs",)),
}


def prepared(experiment: Experiment, name: str, way: str, seed: int) -> qat.QuantizedModule:
    """A trained network, quantised directly."""
    train_set = experiment.pictures[0]
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]
    data = [train_set.inputs(part.to(experiment.device)) for part in order.split(64)]
    return qat.prepare(experiment.trained(name, seed), experiment.example, WAYS[way].settings, init=data)


def trained(experiment: Experiment, module: qat.QuantizedModule, key: str, way: str, seed: int) -> None:
    """Train with rounding, or load what an earlier training left."""
    how = WAYS[way]
    epochs = how.epochs[experiment.data]
    schedule = qat.Schedule(epochs)
    train(
        module,
        experiment.pictures[0],
        Schedule(epochs, how.rate, batch=128 if experiment.data == "fashion_mnist" else 64),
        seed,
        loss=lambda rounded, x, labels: cross_entropy(rounded, x, labels) + DECAY / 2 * qat.clipping_penalty(module),
        optimizer=torch.optim.SGD(
            qat.parameter_groups(module, lr=how.rate, weight_decay=DECAY), how.rate, momentum=0.9, nesterov=True
        ),
        at_epoch=lambda epoch: schedule.on_epoch(module, epoch),
        checkpoint=experiment.checkpoint(f"qat-{key}"),
    )
    schedule.on_epoch(module, epochs)


def training(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    module = prepared(experiment, name, way, seed)
    trained(experiment, module, f"{name}-{way}-{seed}", way, seed)
    return {"module": experiment.top1(module)}


def programs(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    """Accuracies of the float network, and of the compiled program right after quantisation and after training."""
    module = prepared(experiment, name, way, seed)
    row = {"float": experiment.top1(experiment.trained(name, seed)), "direct": program_top1(experiment, module)}
    trained(experiment, module, f"{name}-{way}-{seed}", way, seed)
    row["trained"] = program_top1(experiment, module)
    return row


def program_top1(experiment: Experiment, module: qat.QuantizedModule) -> float:
    """Percent of the test set that the compiled program gets right."""
    path = experiment.work / experiment.data / "program"
    artifact = edgesmith.compile(qat.convert(module).model, output=path, name="quantised", tune="off")
    test = experiment.pictures[1]
    right = 0
    for i in range(len(test)):
        x = test.inputs(slice(i, i + 1)).contiguous().cpu().numpy()
        right += int(artifact(x).argmax()) == int(test.labels[i])
    return 100 * right / len(test)


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        ways = WAYS if experiment.data == "sign_language_digits" else MAIN
        rows = [
            (seed, name, way)
            for seed, way in product(experiment.seeds, ways)
            for name in WAYS[way].networks
            if name in experiment.networks
        ]
        for seed, name, way in rows:
            compute = partial(training, experiment, name, way, seed)
            experiment.once("quantisation-aware training", f"{name} {way} {seed}", compute)
        if not experiment.trains_only:
            for seed, name, way in rows:
                compute = partial(programs, experiment, name, way, seed)
                experiment.once("quantisation", f"{name} {way} {seed}", compute)
