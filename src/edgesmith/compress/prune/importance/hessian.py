"""Second order: optimal brain damage with the diagonal of the empirical Fisher information (LeCun et al. 1989)."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.gradients import gradients
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["hessian"]


@IMPORTANCE.register("hessian")
def hessian(scoring: Scoring) -> Scores:
    """Half the sum of squared weight times mean squared gradient over all weights that go with a unit."""
    total, count = np.zeros(scoring.structure.units), 0
    for gradient in gradients(scoring, "hessian"):
        total += scoring.per_unit(
            lambda name, values, g=gradient: (values * g[name]).square(),  # type: ignore[misc]
            ("out", "in", "scale"),
        )
        count += 1
    return 0.5 * total / max(count, 1)
