"""Scales of batch normalisation (Liu et al. 2017, network slimming, arXiv:1708.06519)."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["bn_scale"]


@IMPORTANCE.register("bn_scale")
def bn_scale(scoring: Scoring) -> Scores:
    """Mean absolute scale of the batch normalisations that stand beside a unit.

    Units without any get the mean of all scales times their L1 norm relative to their group.
    """
    structure = scoring.structure
    total, count = np.zeros(structure.units), np.zeros(structure.units)
    for axis in structure.axes:
        module = structure.module.get_submodule(axis.layer)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and axis.tensor.rpartition(".")[2] == "weight":
            some = axis.units >= 0
            scale = module.weight.detach().abs().double().cpu().numpy()
            total += np.bincount(axis.units[some], weights=scale[some], minlength=structure.units)
            count += np.bincount(axis.units[some], minlength=structure.units)
    scores = total / np.maximum(count, 1)
    typical = float(scores[count > 0].mean()) if (count > 0).any() else 1.0
    norms = scoring.per_unit(lambda _, values: values.abs(), ("out", "in", "scale"))
    for group in structure.groups:
        bare = group.units[count[group.units] == 0]
        scores[bare] = typical * norms[bare] / max(float(norms[group.units].mean()), 1e-30)
    return np.asarray(scores)
