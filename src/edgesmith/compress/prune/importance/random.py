"""Random numbers: the baseline."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["random"]


@IMPORTANCE.register("random")
def random(scoring: Scoring) -> Scores:
    """Uniform in [0, 1), by the seed."""
    return np.random.default_rng(scoring.seed).random(scoring.structure.units)
