"""Times of pruned networks beside the ones that they come from, compiled for this machine and run in turns.

    python benchmarks/compression/speed.py --data fashion_mnist --seeds 0 1 2

Run it on an idle machine, after pruning.py.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

from experiment import Experiment, parsed
from pruning import NETWORKS, WAYS

import edgesmith

ROUNDS = 9


def timed(experiment: Experiment, name: str, pruned: Path, left: float, seed: int) -> dict[str, float]:
    """Milliseconds of both, the ratio, and how much of what multiply-adds promise it is."""
    whole = experiment.keep(f"{name}-{seed}", experiment.trained(name, seed))
    latency = edgesmith.latency(mode="tuned")
    times = latency.times({"whole": whole, "pruned": pruned}, rounds=ROUNDS)
    faster = 1 / times["pruned"].over(times["whole"])
    return {
        "whole, ms": times["whole"].median / 1e6,
        "pruned, ms": times["pruned"].median / 1e6,
        "times as fast": faster,
        "of the MAC ratio": faster * left,
    }


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        networks = [name for name in NETWORKS if name in experiment.networks]
        for name, seed, way in product(networks, experiment.seeds, WAYS):
            row = experiment.recorded("pruning", f"{name} {way} {seed}")
            pruned = experiment.work / experiment.data / f"pruned-{name}-{way}-{seed}.onnx"
            if row and pruned.is_file():
                compute = partial(timed, experiment, name, pruned, row["MACs left"], seed)
                experiment.once("speed", f"{name} {way} {seed}", compute)
