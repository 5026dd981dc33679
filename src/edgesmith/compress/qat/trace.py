"""A traced copy of a module with nothing computed in place, so that roundings may be put between operations."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from edgesmith.compress.qat.effects import without_effects
from edgesmith.compress.qat.folding import NORMS, BatchNorm
from edgesmith.compress.qat.own_forward import follow_own_forwards
from edgesmith.compress.tracing import Traced, refuse_wrapped, trace

__all__ = ["traced"]


def traced(module: nn.Module, example: Any) -> Traced:
    """A copy of the module whose forward pass is a graph of calls, without effects on their operands.

    Layers keep their paths; code of their own around a convolution or product is part of the graph; batch normalisation
    in a piece with its activation (timm's ``BatchNormAct2d``) becomes two layers. Control flow is that of evaluation
    mode.

    Raises:
        BadInput, ModelError: as of ``trace`` and ``without_effects``.
    """
    refuse_wrapped(module)
    module = copy.deepcopy(module)
    for path, part in list(module.named_modules()):
        if path and isinstance(part, NORMS) and tuple(name for name, _ in part.named_children()) == ("drop", "act"):
            module.set_submodule(path, nn.Sequential(_plain(part), *part.children()))
    found = trace(module, example)
    without_effects(found, example)
    follow_own_forwards(found.graph)
    return found


def _plain(norm: BatchNorm) -> BatchNorm:
    """The normalisation alone, with the same parameters and statistics."""
    kind = next(kind for kind in NORMS if isinstance(norm, kind))
    plain = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    plain._parameters.update(norm._parameters)
    plain._buffers.update(norm._buffers)
    return plain.train(norm.training)
