"""How to add a criterion by which channels are pruned.

A criterion is a function in a file of its own in ``src/edgesmith/compress/prune/importance/``. It gets a ``Scoring``:
what of the module can go (``structure``), the user's data and loss. It gives one number for each unit; the least go
first.

A unit is what can only go as a whole: a channel with everything that is coupled to it, through residual additions,
depthwise convolutions or attention heads. ``structure.axes`` says which axis of which parameter belongs to which unit,
and whether its elements make the channel (``out``), scale it (``scale``) or read it (``in``). ``Scoring.per_unit``
sums any number per weight over all of them, so that most criteria are a formula for one weight.

The registration makes it known to ``prune`` and to the recipes of ``edgesmith optimize``. Its test compares the
numbers with the formula, written out for a small network.

This guide runs: it adds a criterion and prunes with it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgesmith.compress.prune import prune
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring


@IMPORTANCE.register("largest-reader")
def largest_reader(scoring: Scoring) -> Scores:
    """The fourth root of the sum of the fourth powers of the weights that read a channel: nearly the largest."""
    return np.asarray(scoring.per_unit(lambda _, weights: weights**4, ("in",)) ** 0.25)


def main() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))
    with torch.no_grad():
        module[2].weight[:, 5] *= 1e-3  # what channel 5 of the first layer holds hardly matters
    example = torch.randn(1, 3, 16, 16)
    pruned = prune(module, example, ratios={"0": 1 / 16}, importance="largest-reader")
    print(pruned.module)
    assert pruned.module[0].out_channels == 15
    assert torch.allclose(pruned.module(example), module(example), atol=0.05)


if __name__ == "__main__":
    main()
