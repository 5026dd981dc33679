"""Knowledge distillation: losses that let a small network learn from larger ones, in any training loop."""

from edgesmith.compress.distill.angular import Angular
from edgesmith.compress.distill.attention import AttentionTransfer
from edgesmith.compress.distill.born_again import born_again
from edgesmith.compress.distill.decoupled import Decoupled
from edgesmith.compress.distill.distiller import Distiller
from edgesmith.compress.distill.hints import Hints
from edgesmith.compress.distill.margin import Margin, MarginHead, teacher_margins
from edgesmith.compress.distill.moving_teacher import MovingTeacher
from edgesmith.compress.distill.mutual import Peers, mutual, mutual_loss
from edgesmith.compress.distill.own_teacher import OwnTeacher
from edgesmith.compress.distill.relational import Relational
from edgesmith.compress.distill.similarity import SimilarityPreserving
from edgesmith.compress.distill.soft_logits import SoftLogits
from edgesmith.compress.distill.teachers import averaged, confident, weighted
from edgesmith.compress.distill.term import LOSSES, Seen, Term
from edgesmith.compress.distill.triplet import Triplet

__all__ = [
    "LOSSES",
    "Angular",
    "AttentionTransfer",
    "Decoupled",
    "Distiller",
    "Hints",
    "Margin",
    "MarginHead",
    "MovingTeacher",
    "OwnTeacher",
    "Peers",
    "Relational",
    "Seen",
    "SimilarityPreserving",
    "SoftLogits",
    "Term",
    "Triplet",
    "averaged",
    "born_again",
    "confident",
    "mutual",
    "mutual_loss",
    "teacher_margins",
    "weighted",
]
