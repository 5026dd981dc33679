"""Zeros in the weights of a trained network, by pattern and share, trained on with their masks.

python benchmarks/compression/zeros.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from functools import partial
from itertools import product

from experiment import Experiment, parsed
from training import Schedule, cross_entropy, train

from edgesmith.compress.sparsify import NM, Blocks, Cubic, Pattern, Sparsifier

NETWORK = "mobilenet"
TRAINING = {"fashion_mnist": Schedule(4, 0.03), "sign_language_digits": Schedule(20, 0.03, batch=64)}
WAYS: dict[str, tuple[str | Pattern, float | None]] = {
    "unstructured, half": ("unstructured", 0.5),
    "unstructured, a quarter": ("unstructured", 0.25),
    "unstructured, a tenth": ("unstructured", 0.1),
    "2 of 4": (NM(2, 4), None),
    "1 of 4": (NM(1, 4), None),
    "blocks of 16x1, half": (Blocks((16, 1)), 0.5),
    "blocks of 16x1, a quarter": (Blocks((16, 1)), 0.25),
}
"""Pattern, and share of weights that stay. Only 1x1 convolutions: they hold nearly all weights."""


def sparse(experiment: Experiment, way: str, seed: int) -> dict[str, float]:
    """Accuracies of the dense network and of the sparse one after training; share of weights that are not zero."""
    network = experiment.trained(NETWORK, seed)
    row = {"float": experiment.top1(network)}
    schedule = TRAINING[experiment.data]
    steps = len(experiment.pictures[0]) // schedule.batch * schedule.epochs
    pattern, density = WAYS[way]
    chosen = [n for n, m in network.named_modules() if getattr(m, "kernel_size", None) == (1, 1)]
    gradual = Cubic(0, steps // 2, every=max(1, steps // 40)) if density else None
    sparsifier = Sparsifier(network, pattern, density=density, schedule=gradual, include=chosen)

    def loss(module, x, labels):
        sparsifier.step()
        return cross_entropy(module, x, labels)

    train(network, experiment.pictures[0], schedule, seed, loss=loss)
    sparsifier.finish()
    weights = [dict(network.named_modules())[name].weight for name in chosen]
    row["left"] = sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
    row["trained"] = experiment.top1(network)
    experiment.keep(f"sparse-{NETWORK}-{way}-{seed}", network)
    return row


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        for seed, way in product(experiment.seeds, WAYS):
            experiment.once("zeros", f"{NETWORK} {way} {seed}", partial(sparse, experiment, way, seed))
