"""First-order Taylor expansion of the loss (Molchanov et al. 2019, arXiv:1906.10771)."""

from __future__ import annotations

import numpy as np

from edgesmith.compress.prune.gradients import gradients
from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["taylor"]


@IMPORTANCE.register("taylor")
def taylor(scoring: Scoring) -> Scores:
    """Mean over batches of the squared first-order change of the loss when a unit's activations become zero.

    For a layer linear in its inputs, the sum of weight times gradient over the weights that read a channel equals the
    sum of activation times gradient over the channel, so no activations need to be kept; and unlike at the weights that
    make the channel, batch normalisation does not make it vanish.
    """
    total, count = np.zeros(scoring.structure.units), 0
    for gradient in gradients(scoring, "taylor"):
        read = scoring.per_unit(lambda name, values, g=gradient: values * g[name], ("in",))  # type: ignore[misc]
        made = scoring.per_unit(lambda name, values, g=gradient: values * g[name], ("out", "scale"))  # type: ignore[misc]
        total += np.where(scoring.structure.is_read, read, made) ** 2
        count += 1
    return total / max(count, 1)
