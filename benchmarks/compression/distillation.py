"""Distillation: small students of a ResNet, beside the same students without a teacher, trained equally long.

python benchmarks/compression/distillation.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

from experiment import BASELINES, Experiment, parsed
from torch import Tensor, nn
from training import train

from edgesmith.compress.distill import (
    AttentionTransfer,
    Decoupled,
    Distiller,
    Hints,
    MovingTeacher,
    OwnTeacher,
    Peers,
    Relational,
    SimilarityPreserving,
    SoftLogits,
    Term,
    mutual_loss,
)
from edgesmith.compress.prune import groups, stepwise

BATCHES, BATCH = 20, 128
"""Of training pictures by which a student's channels are chosen."""

TEACHER = "resnet"
STUDENTS = {
    "fashion_mnist": ("resnet-half", "resnet-three-quarters", "mobilenet-half"),
    "sign_language_digits": ("resnet-quarter",),
}
LAST = {
    "resnet": "features.8",
    "resnet-quarter": "features.8",
    "resnet-three-quarters": "features.8",
    "resnet-half": "features.8",
    "mobilenet-half": "features.10",
}
"""The last block of each network."""
EXITS = {
    "resnet-quarter": ("features.4", "features.6"),
    "resnet-three-quarters": ("features.4", "features.6"),
    "resnet-half": ("features.4", "features.6"),
    "mobilenet-half": ("features.4", "features.7"),
}
"""Blocks behind which a network that teaches itself has classifiers."""


@dataclass(frozen=True)
class Lesson:
    """What a student learns by.

    Attributes:
        terms: from the teacher's last block and the student's; None: the labels alone.
        inherits: the student begins with the teacher's best channels and not with random weights.
        hard: weight of the labels beside the terms; None: the terms' own.
        teachers: how many.
    """

    terms: Callable[[dict[str, str]], list[Term]] | None
    inherits: bool = False
    hard: float | None = None
    teachers: int = 1


LESSONS = {
    "inherited channels, soft logits": Lesson(lambda layers: [SoftLogits(T=2, weight=0.5)], inherits=True, hard=0.5),
    "soft logits": Lesson(lambda layers: [SoftLogits(T=4)]),
    "inherited channels": Lesson(None, inherits=True),
    "soft logits of three teachers": Lesson(lambda layers: [SoftLogits(T=4)], teachers=3),
    "soft logits, attention": Lesson(lambda layers: [SoftLogits(T=4), AttentionTransfer(layers)]),
    "soft logits, hints": Lesson(lambda layers: [SoftLogits(T=4), Hints(layers)]),
    "soft logits, relational": Lesson(lambda layers: [SoftLogits(T=4), Relational(layers)]),
    "soft logits, similarity": Lesson(lambda layers: [SoftLogits(T=4), SimilarityPreserving(layers)]),
    "decoupled": Lesson(lambda layers: [Decoupled()]),
    "hints": Lesson(lambda layers: [Hints(layers)]),
    "relational": Lesson(lambda layers: [Relational(layers)]),
}
MUTUAL, SELF, MOVING = "mutual, two students", "self, two early exits", "self, moving average"
MAIN = tuple(LESSONS)[:3]


def distilled(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    """A student's accuracy, and that of its teacher and of itself without one."""
    rates = {
        "teacher": experiment.top1(experiment.trained(TEACHER, seed)),
        "alone": experiment.top1(experiment.trained(name, seed)),
    }
    student = experiment.fresh(name, seed)
    learn = partial(
        train,
        data=experiment.pictures[0],
        schedule=BASELINES[experiment.data],
        seed=seed,
        checkpoint=experiment.checkpoint(f"distilled-{name}-{way}-{seed}"),
    )
    if way == MUTUAL:
        peers = Peers(student, experiment.fresh(name, seed + 1000))
        learn(peers, loss=lambda module, x, labels: mutual_loss(module(x), labels))
    elif way == SELF:
        own = OwnTeacher(student, EXITS[name], LAST[name], experiment.example)
        learn(student, loss=lambda module, x, labels: own(x, labels, module(x)), extra=own.adapters)
        own.close()
    elif way == MOVING:
        moving = MovingTeacher(student, 0.995)
        with Distiller(moving.module, student, [SoftLogits(T=1, weight=0.5)], hard=0.5) as kd:

            def following(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
                moving.update(module)
                return kd(x, labels, module(x))

            learn(student, loss=following)
    else:
        student = taught(experiment, LESSONS[way], student, name, seed, learn)
    rates["distilled"] = experiment.top1(student)
    gap = rates["teacher"] - rates["alone"]
    return rates | ({"recovered": (rates["distilled"] - rates["alone"]) / gap} if gap > 0 else {})


def taught(
    experiment: Experiment, lesson: Lesson, student: nn.Module, name: str, seed: int, learn: Callable[..., nn.Module]
) -> nn.Module:
    """The student, trained by its teachers."""
    teachers = [experiment.trained(TEACHER, seed + i) for i in range(lesson.teachers)]
    if lesson.inherits:
        student = inherited(experiment, teachers[0], student, seed)
    if lesson.terms is None:
        return learn(student)
    terms = lesson.terms({LAST[TEACHER]: LAST[name]})
    with Distiller(teachers, student, terms, hard=lesson.hard, example=experiment.example) as kd:
        return learn(student, loss=lambda module, x, labels: kd(x, labels, module(x)), extra=kd.adapters)


def inherited(experiment: Experiment, teacher: nn.Module, student: nn.Module, seed: int) -> nn.Module:
    """The student's architecture with those of the teacher's channels that Taylor holds dearest."""
    data = experiment.some(BATCHES, BATCH, seed)
    narrower = 1 - student.classifier.in_features / teacher.classifier.in_features
    ratios = {group.name: narrower for group in groups(teacher, experiment.example)}
    module = stepwise(teacher, experiment.example, ratios=ratios, data=data).module
    shapes = ({n: p.shape for n, p in m.state_dict().items()} for m in (module, student))
    if next(shapes) != next(shapes):
        raise ValueError(f"{type(teacher).__name__} does not become the student when every group is narrowed alike")
    return module


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        students = [name for name in STUDENTS[experiment.data] if name in experiment.networks]
        ways = (*LESSONS, MUTUAL, SELF, MOVING) if experiment.data == "sign_language_digits" else MAIN
        for way, name, seed in product(ways, students, experiment.seeds):
            if name.startswith(TEACHER) or not (way in LESSONS and LESSONS[way].inherits):
                compute = partial(distilled, experiment, name, way, seed)
                experiment.once("distillation", f"{name} {way} {seed}", compute)
