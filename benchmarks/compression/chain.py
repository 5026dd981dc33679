"""The whole chain from a trained MobileNet by ``edgesmith optimize``: a third of its multiply-adds, in integers.

python benchmarks/compression/chain.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from experiment import Experiment, parsed

NETWORK = "mobilenet"
HEAD = """
[output]
seed = {seed}

[model]
network = "{networks}:MobileNet"
checkpoint = "{checkpoint}"
channels = 1
classes = 10

[data]
train = ["{data}/train-images-idx3-ubyte.gz", "{data}/train-labels-idx1-ubyte.gz"]
test = ["{data}/t10k-images-idx3-ubyte.gz", "{data}/t10k-labels-idx1-ubyte.gz"]
augment = ["shift 2", "flip"]
validation = 0.02
calibration = 2048
"""
THIRD = """
[budget]
macs = "33%"
latency_ms = "50%"
accuracy_drop = 0.5

[[stage]]
method = "prune"

[[stage]]
method = "finetune"
epochs = 8
lr = 0.03
schedule = "one_cycle"
teacher = 0

[[stage]]
method = "qat"
epochs = 2
teacher = 0
"""


def optimized(experiment: Experiment, name: str, stages: str, seed: int) -> dict[str, Any]:
    """The report of ``edgesmith optimize``, and its exit status as ``status``."""
    experiment.trained(NETWORK, seed)
    folder = experiment.work / experiment.data / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.toml"
    head = HEAD.format(
        seed=seed,
        networks=Path(__file__).with_name("networks.py"),
        checkpoint=experiment.work / experiment.data / f"{NETWORK}-{seed}.pt",
        data=experiment.material / experiment.data,
    )
    recipe.write_text(head + stages)
    command = [sys.executable, "-m", "edgesmith", "optimize", recipe, "--output", folder / "optimized", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) | {"status": done.returncode}


def to_a_third(experiment: Experiment, seed: int) -> dict[str, float | bool]:
    """Before and after."""
    report = optimized(experiment, "chain", THIRD, seed)
    first, last = report["rows"][0], report["rows"][-1]
    row: dict[str, float | bool] = {"within the budget": report["status"] == 0}
    for name, key in (("top1", "accuracy"), ("ms", "latency_ms"), ("kB", "size_kb"), ("MACs", "macs")):
        row |= {f"{name} before": first[key], f"{name} after": last[key]}
    return row | {
        "points lost": first["accuracy"] - last["accuracy"],
        "MACs left": last["macs"] / first["macs"],
        "times as fast": first["latency_ms"] / last["latency_ms"],
    }


if __name__ == "__main__":
    for experiment in parsed(__doc__, data=["fashion_mnist"]):
        for seed in experiment.seeds:
            experiment.once("chain", f"{NETWORK} {seed}", partial(to_a_third, experiment, seed))
