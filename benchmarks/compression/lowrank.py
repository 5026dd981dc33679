"""Low-rank factors of a ResNet's layers by method and by rule for ranks: without training, and fine-tuned.

python benchmarks/compression/lowrank.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from functools import partial
from itertools import product

from experiment import Experiment, parsed
from training import Schedule, train

from edgesmith.compress.counting import macs, parameters
from edgesmith.compress.lowrank import VBMF, Energy, MacsTarget, RankRule, factorize

NETWORK = "resnet"
WAYS: dict[str, tuple[str, RankRule]] = {
    **{
        f"{method} 0.5": (method, MacsTarget(share=0.5))
        for method in ("channel", "spatial", "tucker2", "block_term", "cp")
    },
    "channel by energy of 99 %": ("channel", Energy(0.99)),
    "channel by VBMF": ("channel", VBMF()),
    "tucker2 by VBMF": ("tucker2", VBMF()),
}
"""Method, and rule for ranks; 0.5 is the share of the network's multiply-adds that stays."""
FINE_TUNING = {"fashion_mnist": Schedule(2, 0.01), "sign_language_digits": Schedule(20, 0.01, batch=64)}
PICTURES, BATCH = 512, 64


def factored(experiment: Experiment, way: str, seed: int) -> dict[str, float]:
    """Accuracies of factors of the weights alone, of factors that look at data, and of these fine-tuned."""
    network = experiment.trained(NETWORK, seed)
    data = experiment.some(PICTURES // BATCH, BATCH, seed)
    method, rule = WAYS[way]
    methods = tuple(dict.fromkeys((method, "channel", "svd")))
    plain, informed = (
        factorize(network, experiment.example, method=methods, rank=rule, data=given) for given in (None, data)
    )
    module = informed.module
    row = {
        "float": experiment.top1(network),
        "MACs left": macs(module, experiment.example) / macs(network, experiment.example),
        "parameters left": parameters(module) / parameters(network),
        "weights alone": experiment.top1(plain.module),
        "with data": experiment.top1(module),
    }
    key = f"lowrank-{way}-{seed}"
    checkpoint = experiment.checkpoint(key)
    train(module, experiment.pictures[0], FINE_TUNING[experiment.data], seed, checkpoint=checkpoint)
    experiment.keep(key, module)
    return row | {"fine-tuned": experiment.top1(module)}


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        for seed, way in product(experiment.seeds, WAYS):
            experiment.once("low rank", f"{way} {seed}", partial(factored, experiment, way, seed))
