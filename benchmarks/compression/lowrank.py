"""Low-rank factors of a ResNet's layers at 70 % and half of its multiply-adds: without training, and fine-tuned.

python benchmarks/compression/lowrank.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from functools import partial
from itertools import product

from experiment import Experiment, parsed
from training import Schedule, train

from edgesmith.compress.counting import macs, parameters
from edgesmith.compress.lowrank import MacsTarget, factorize

NETWORK = "resnet"
METHODS = ("channel", "spatial", "tucker2", "block_term")
SHARES = (0.7, 0.5)
FINE_TUNING = {"fashion_mnist": Schedule(2, 0.01), "sign_language_digits": Schedule(20, 0.01, batch=64)}
PICTURES, BATCH = 512, 64


def factored(experiment: Experiment, method: str, share: float, seed: int) -> dict[str, float]:
    """Accuracies of factors of the weights alone, of factors that look at data, and of these fine-tuned."""
    network = experiment.trained(NETWORK, seed)
    data = experiment.some(PICTURES // BATCH, BATCH, seed)
    methods = tuple(dict.fromkeys((method, "channel", "svd")))
    plain, informed = (
        factorize(network, experiment.example, method=methods, rank=MacsTarget(share=share), data=given)
        for given in (None, data)
    )
    module = informed.module
    row = {
        "float": experiment.top1(network),
        "MACs left": macs(module, experiment.example) / macs(network, experiment.example),
        "parameters left": parameters(module) / parameters(network),
        "weights alone": experiment.top1(plain.module),
        "with data": experiment.top1(module),
    }
    key = f"lowrank-{method}-{share}-{seed}"
    checkpoint = experiment.checkpoint(key)
    train(module, experiment.pictures[0], FINE_TUNING[experiment.data], seed, checkpoint=checkpoint)
    experiment.keep(key, module)
    return row | {"fine-tuned": experiment.top1(module)}


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        for seed, share, method in product(experiment.seeds, SHARES, METHODS):
            experiment.once("low rank", f"{method} {share} {seed}", partial(factored, experiment, method, share, seed))
