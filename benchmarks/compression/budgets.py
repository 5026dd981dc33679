"""How near to a budget of milliseconds ``edgesmith optimize`` comes: pruned and quantised, without training.

    python benchmarks/compression/budgets.py --data fashion_mnist --seeds 0 1 2

Run it on an idle machine.
"""

from __future__ import annotations

from functools import partial
from itertools import product

from experiment import Experiment, parsed

from chain import NETWORK, RECIPES, optimized

SHARES = (0.5, 0.4, 0.3)
STAGES = """
[budget]
latency_ms = "{share:.0%}"

[[stage]]
method = "prune"
round_to = 4

[[stage]]
method = "quantise"
"""


def within(experiment: Experiment, share: float, seed: int) -> dict[str, float]:
    """What was asked for, and the final program's time."""
    recipe = experiment.work / experiment.data / f"latency-{share}.toml"
    data, _, _ = (RECIPES / "third.toml").read_text().replace("../..", str(RECIPES.parents[1])).partition("[budget]")
    recipe.write_text(data + STAGES.format(share=share))
    report = optimized(experiment, f"latency-{share}", recipe, seed)
    first, last = report["rows"][0], report["rows"][-1]
    asked = share * first["latency_ms"]
    return {"asked, ms": asked, "measured, ms": last["latency_ms"], "of the budget": last["latency_ms"] / asked}


if __name__ == "__main__":
    for experiment in parsed(__doc__, data=["fashion_mnist"]):
        for share, seed in product(SHARES, experiment.seeds):
            compute = partial(within, experiment, share, seed)
            experiment.once("latency budget", f"{NETWORK} {share:.0%} {seed}", compute)
