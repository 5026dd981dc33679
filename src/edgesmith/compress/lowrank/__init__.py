"""Low-rank factors in the place of layers."""

from edgesmith.compress.lowrank.factorize import Factorized, Replaced, factorize, factorize_layer
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Factors, Method
from edgesmith.compress.lowrank.methods.block_term import BlockTerm
from edgesmith.compress.lowrank.rules import (
    VBMF,
    ByLatency,
    ByName,
    Energy,
    Fixed,
    LayerRule,
    MacsTarget,
    RankRule,
    Ratio,
    Rounded,
)
from edgesmith.compress.lowrank.shape import apply_shape

__all__ = [
    "METHODS",
    "VBMF",
    "BlockTerm",
    "ByLatency",
    "ByName",
    "Decomposition",
    "Energy",
    "Factorized",
    "Factors",
    "Fixed",
    "LayerRule",
    "MacsTarget",
    "Method",
    "RankRule",
    "Ratio",
    "Replaced",
    "Rounded",
    "apply_shape",
    "factorize",
    "factorize_layer",
]
