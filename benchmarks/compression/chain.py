"""The whole chain from a trained MobileNet by ``edgesmith optimize examples/compression/third.toml``.

python benchmarks/compression/chain.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from experiment import Experiment, parsed

NETWORK = "mobilenet"
MISSED = 1
"""Exit status where the outcome is not within the budget."""
RECIPES = Path(__file__).resolve().parents[2] / "examples" / "compression"


def optimized(experiment: Experiment, name: str, recipe: Path, seed: int) -> dict[str, Any]:
    """The report of ``edgesmith optimize``, and its exit status as ``status``."""
    experiment.trained(NETWORK, seed)
    names = {
        "CHECKPOINT": experiment.work / experiment.data / f"{NETWORK}-{seed}.pt",
        "FASHION_MNIST": experiment.material / experiment.data,
    }
    output = experiment.work / experiment.data / f"{name}-{seed}"
    command = [sys.executable, "-m", "edgesmith", "optimize", recipe, "--output", output, "--json"]
    own = {**os.environ, **{key: str(path.resolve()) for key, path in names.items()}}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=own)
    if done.returncode not in (0, MISSED):
        raise RuntimeError(f"edgesmith optimize {recipe} ended with status {done.returncode}")
    return json.loads(done.stdout) | {"status": done.returncode}


def to_a_third(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Before and after, and the same network made narrower in the plain way, as fast and trained as long."""
    report = optimized(experiment, "chain", RECIPES / "third.toml", seed)
    stages = [r for r in report["rows"] if r["kind"] == "stage"]
    first, last = stages[0], stages[-1]
    row: dict[str, Any] = {"within the budget": report["status"] == 0}
    for name, key in (("top1", "accuracy"), ("ms", "latency_ms"), ("kB", "size_kb"), ("MACs", "macs")):
        row |= {f"{name} before": first[key], f"{name} after": last[key]}
    row |= {
        "points lost": first["accuracy"] - last["accuracy"],
        "MACs left": last["macs"] / first["macs"],
        "times as fast": first["latency_ms"] / last["latency_ms"],
    }
    for stock in (r for r in report["rows"] if r["kind"] == "stock"):
        row |= {"stock": stock["title"].rpartition(":")[2]}
        row |= {"top1 stock": stock["accuracy"], "ms stock": stock["latency_ms"], "kB stock": stock["size_kb"]}
    return row


if __name__ == "__main__":
    for experiment in parsed(__doc__, data=["fashion_mnist"]):
        for seed in experiment.seeds:
            experiment.once("chain", f"{NETWORK} {seed}", partial(to_a_third, experiment, seed))
