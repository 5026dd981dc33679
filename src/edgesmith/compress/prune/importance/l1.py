"""L1 norm of all weights that go with a unit (Li et al. 2017, arXiv:1608.08710, over all coupled layers)."""

from __future__ import annotations

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["l1"]


@IMPORTANCE.register("l1")
def l1(scoring: Scoring) -> Scores:
    """Sum of absolute values of weights that make and read the channels."""
    return scoring.per_unit(lambda _, values: values.abs(), ("out", "in", "scale"))
