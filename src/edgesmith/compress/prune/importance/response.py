"""Mean absolute activation: channels that respond least go (Hu et al. 2016, arXiv:1607.03250, with means for zeros)."""

from __future__ import annotations

from edgesmith.compress.prune.readers import mean_over_readers
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["response"]


@IMPORTANCE.register("response")
def response(scoring: Scoring) -> Scores:
    """Mean absolute value of a channel where layers read it; as ``Scoring.completed`` where none does."""
    (response,), seen = mean_over_readers(scoring, "response", lambda x: x.abs().mean(1))
    return scoring.completed(response, seen)
