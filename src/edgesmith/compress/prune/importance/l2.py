"""L2 norm of all weights that go with a unit (He et al. 2018, arXiv:1808.06866, over all coupled layers)."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["l2"]


@IMPORTANCE.register("l2")
def l2(scoring: Scoring) -> Scores:
    """Root of the sum of squares of weights that make and read the channels."""
    return np.asarray(np.sqrt(scoring.per_unit(lambda _, values: values.square(), ("out", "in", "scale"))))
