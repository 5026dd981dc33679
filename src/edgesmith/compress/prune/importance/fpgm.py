"""Geometric median: filters that others can stand for go (He et al. 2019, FPGM, arXiv:1811.00250)."""

from __future__ import annotations

import numpy as np
import torch

from edgesmith.compress.prune.scoring import IMPORTANCE, Scores, Scoring

__all__ = ["fpgm"]


@IMPORTANCE.register("fpgm")
def fpgm(scoring: Scoring) -> Scores:
    """Sum of distances from a unit's filters to all filters of their layers."""
    structure = scoring.structure
    parameters = dict(structure.module.named_parameters())
    totals = np.zeros(structure.units)
    for axis in structure.axes:
        tensor = parameters.get(axis.tensor)
        if tensor is None or axis.role != "out" or tensor.ndim < 2:
            continue
        filters = tensor.detach().movedim(axis.axis, 0).reshape(len(axis.units), -1).float()
        distances = torch.cdist(filters, filters).sum(1).double().cpu().numpy()
        some = axis.units >= 0
        totals += np.bincount(axis.units[some], weights=distances[some], minlength=structure.units)
    return totals
