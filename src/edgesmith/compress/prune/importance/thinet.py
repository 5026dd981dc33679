"""Reconstruction of the next layer's output (Luo et al. 2017, ThiNet, arXiv:1707.06342)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgesmith.compress.prune.contributions import grams
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["thinet"]


@IMPORTANCE.register("thinet")
def thinet(scoring: Scoring) -> Scores:
    """Error of the reading layers' outputs, relative to them, when a unit goes after all that matter less.

    Units are removed greedily, each time the one that adds least to the squared error. ``rescale`` then fits what stays
    by least squares. Units that neither convolutions nor linear layers read are scored as ``Scoring.completed`` does.
    """
    units = scoring.structure.units
    scores, seen = np.zeros(units), np.zeros(units, dtype=bool)
    found = grams(scoring.structure, scoring.data, "importance 'thinet'", scoring.seed)
    for group, gram in zip(scoring.structure.groups, found, strict=True):
        if gram is not None:
            scores[group.units], seen[group.units] = _removal_errors(gram), True
    return scoring.completed(scores, seen)


def _removal_errors(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with_removed = np.zeros(len(gram))
    own = np.diag(gram).copy()
    errors = np.zeros(len(gram))
    left = np.ones(len(gram), dtype=bool)
    error = worst = 0.0
    for step in range(len(gram)):
        added = np.where(left, own + 2 * with_removed, np.inf)
        unit = int(added.argmin())
        error += float(added[unit])
        worst = max(worst, error)
        errors[unit] = worst + 1e-12 * step
        left[unit] = False
        with_removed += gram[unit]
    return errors
