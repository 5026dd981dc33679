"""Second order: optimal brain damage (LeCun et al. 1989), with squared gradients of batches for the Hessian."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.gradients import gradients
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["hessian"]


@IMPORTANCE.register("hessian")
def hessian(scoring: Scoring) -> Scores:
    """Half the sum of squared weight times mean squared gradient over all weights that go with a unit.

    Gradients are of a batch's loss. Of batches of one sample, their mean square is the diagonal of the empirical Fisher
    information (as in Theis et al. 2018, arXiv:1801.05787). Of batches of n samples, whose loss is their mean, it is
    an nth of that, and the mean gradient squared, which is small once a network is trained: cheaper by n, and noisier.
    """
    total, count = np.zeros(scoring.structure.units), 0
    for gradient in gradients(scoring, "hessian"):
        total += scoring.per_unit(
            lambda name, values, g=gradient: (values * g[name]).square(),  # type: ignore[misc]
            ("out", "in", "scale"),
        )
        count += 1
    return 0.5 * total / max(count, 1)
