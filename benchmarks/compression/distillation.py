"""Distillation: small students of a ResNet, beside the same students without a teacher, trained equally long.

python benchmarks/compression/distillation.py --data fashion_mnist --seeds 0 1 2
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

from experiment import BASELINES, Experiment, parsed
from training import train

from edgesmith.compress.distill import AttentionTransfer, Distiller, Relational, SimilarityPreserving, SoftLogits, Term

TEACHER = "resnet"
STUDENTS = ("resnet-half", "mobilenet-half")
ENDS = {"resnet": "features.8", "resnet-half": "features.8", "mobilenet-half": "features.10"}
"""The last block of each network."""

Terms = Callable[[str], list[Term]]
WAYS: dict[str, Terms] = {
    "soft-logits": lambda student: [SoftLogits(T=4)],
    "soft-logits+attention": lambda student: [
        SoftLogits(T=4),
        AttentionTransfer({ENDS[TEACHER]: ENDS[student]}),
    ],
    "soft-logits+relational": lambda student: [SoftLogits(T=4), Relational()],
    "similarity": lambda student: [SimilarityPreserving({ENDS[TEACHER]: ENDS[student]})],
}


def distilled(experiment: Experiment, name: str, way: str, seed: int) -> dict[str, float]:
    """A student's accuracy, and that of its teacher and of itself without one."""
    teacher, alone = experiment.trained(TEACHER, seed), experiment.trained(name, seed)
    rates = {"teacher": experiment.top1(teacher), "alone": experiment.top1(alone)}
    student = experiment.fresh(name, seed)
    with Distiller(teacher, student, WAYS[way](name)) as loss:
        train(
            student,
            experiment.pictures[0],
            BASELINES[experiment.data],
            seed,
            loss=lambda module, x, labels: loss(x, labels, module(x)),
            checkpoint=experiment.checkpoint(f"distilled-{name}-{way}-{seed}"),
        )
    rates["distilled"] = experiment.top1(student)
    gap = rates["teacher"] - rates["alone"]
    return rates | {"recovered": (rates["distilled"] - rates["alone"]) / gap if gap > 0 else float("nan")}


if __name__ == "__main__":
    for experiment in parsed(__doc__):
        ways = list(WAYS) if experiment.data == "sign_language_digits" else list(WAYS)[:1]
        students = [name for name in STUDENTS if name in experiment.networks]
        for way, name, seed in product(ways, students, experiment.seeds):
            compute = partial(distilled, experiment, name, way, seed)
            experiment.once("distillation", f"{name} {way} {seed}", compute)
