"""Scales of batch normalisation (Liu et al. 2017, network slimming, arXiv:1708.06519)."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["bn_scale"]


@IMPORTANCE.register("bn_scale")
def bn_scale(scoring: Scoring) -> Scores:
    """Mean absolute scale of the batch normalisations that stand beside a unit.

    Units without any are scored as ``Scoring.completed`` does.
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
    return scoring.completed(total / np.maximum(count, 1), count > 0)
