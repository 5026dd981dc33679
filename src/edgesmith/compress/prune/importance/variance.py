"""Variance of activations: channels that hardly change go; their mean can move into the next bias (``compensate``)."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.readers import mean_over_readers
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["variance"]


@IMPORTANCE.register("variance")
def variance(scoring: Scoring) -> Scores:
    """Variance over images and places of a channel where layers read it; as ``Scoring.completed`` where none does."""
    (mean, square), seen = mean_over_readers(scoring, "variance", lambda x: x.mean(1), lambda x: x.square().mean(1))
    return scoring.completed(np.asarray(np.maximum(square - mean**2, 0.0)), seen)
