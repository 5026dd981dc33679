"""Structured channel pruning of any module that torch.fx traces.

``prune`` is analyse, score, select and cut in one call; the parts are there for loops of one's own.
"""

from edgesmith.compress.prune.compensation import compensate, recalibrate, rescale
from edgesmith.compress.prune.gradual import GradualState, gradual
from edgesmith.compress.prune.pruning import GroupInfo, Pruned, Size, groups, prune
from edgesmith.compress.prune.scoring import IMPORTANCE, Loss, Scores, Scoring
from edgesmith.compress.prune.selection import Limits, select, select_by_ratio
from edgesmith.compress.prune.sensitivity import Curves, sensitivity
from edgesmith.compress.prune.shape import PrunedShape, apply_shape
from edgesmith.compress.prune.sparsity import GroupLasso, ScalePenalty
from edgesmith.compress.prune.stepwise import cuts, stepwise
from edgesmith.compress.prune.structure import Group, Structure, analyse
from edgesmith.compress.prune.surgery import cut

__all__ = [
    "IMPORTANCE",
    "Curves",
    "GradualState",
    "Group",
    "GroupInfo",
    "GroupLasso",
    "Limits",
    "Loss",
    "Pruned",
    "PrunedShape",
    "ScalePenalty",
    "Scores",
    "Scoring",
    "Size",
    "Structure",
    "analyse",
    "apply_shape",
    "compensate",
    "cut",
    "cuts",
    "gradual",
    "groups",
    "prune",
    "recalibrate",
    "rescale",
    "select",
    "select_by_ratio",
    "sensitivity",
    "stepwise",
]
