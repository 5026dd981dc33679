"""How ranks are chosen, one rule a file."""

from edgesmith.compress.lowrank.rules.by_name import ByName
from edgesmith.compress.lowrank.rules.energy import Energy
from edgesmith.compress.lowrank.rules.fixed import Fixed, Ratio
from edgesmith.compress.lowrank.rules.latency import ByLatency
from edgesmith.compress.lowrank.rules.macs import MacsTarget
from edgesmith.compress.lowrank.rules.rounded import Rounded
from edgesmith.compress.lowrank.rules.rule import Choice, LayerRule, RankRule
from edgesmith.compress.lowrank.rules.vbmf import VBMF

__all__ = [
    "VBMF",
    "ByLatency",
    "ByName",
    "Choice",
    "Energy",
    "Fixed",
    "LayerRule",
    "MacsTarget",
    "RankRule",
    "Ratio",
    "Rounded",
]
