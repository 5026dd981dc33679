"""Structured channel pruning of any module that torch.fx traces.

``prune`` is analyse, score, select and cut in one call; the parts are there for loops of one's own.
"""

from edgesmith.compress.prune.pruning import GroupInfo, Pruned, Size, groups, prune
from edgesmith.compress.prune.scoring import IMPORTANCE, Loss, Scores, Scoring
from edgesmith.compress.prune.selection import Limits, select, select_by_ratio
from edgesmith.compress.prune.shape import PrunedShape, apply_shape
from edgesmith.compress.prune.structure import Group, Structure, analyse
from edgesmith.compress.prune.surgery import cut

__all__ = [
    "IMPORTANCE",
    "Group",
    "GroupInfo",
    "Limits",
    "Loss",
    "Pruned",
    "PrunedShape",
    "Scores",
    "Scoring",
    "Size",
    "Structure",
    "analyse",
    "apply_shape",
    "cut",
    "groups",
    "prune",
    "select",
    "select_by_ratio",
]
