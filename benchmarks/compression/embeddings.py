"""Embeddings that are compared by their angle, as those of faces are: a small student beside its teacher.

    python benchmarks/compression/embeddings.py --data fashion_mnist --seeds 0 1 2

Networks learn from seven classes. Counted is how often, among pictures of the three others, the nearest one is of the
same class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from experiment import Experiment, parsed
from networks import network
from pictures import Pictures
from torch import Tensor, nn
from torch.nn import functional
from training import Schedule, save, train

from edgesmith.compress.distill import Angular, Distiller, Margin, MarginHead, Term, Triplet

UNSEEN = (2, 4, 6)
"""Pullovers, coats and shirts: what is hardest to tell apart."""
TEACHER, STUDENT = "resnet", "resnet-half"
LENGTH = 64
SCALE, MARGIN = 32.0, 0.3
SCHEDULE = Schedule(6)
LESSONS: dict[str, Callable[[Tensor], list[Term]] | None] = {
    "alone": None,
    "teacher's margins and angles": lambda centres: [Margin(centres, scale=SCALE), Angular()],
    "teacher's angles": lambda centres: [Angular()],
    "teacher's triplets": lambda centres: [Triplet()],
}


@dataclass(frozen=True)
class Classes:
    """Pictures of the classes that networks learn from, numbered from 0, and test pictures of the others."""

    seen: Pictures
    unseen: Pictures


def parted(experiment: Experiment) -> Classes:
    train_set, test_set = experiment.pictures
    held_out = torch.tensor(UNSEEN)
    names = [c for c in range(int(train_set.labels.max()) + 1) if c not in UNSEEN]
    numbers = torch.full((len(names) + len(UNSEEN),), -1)
    numbers[names] = torch.arange(len(names))
    seen, unseen = ~torch.isin(train_set.labels, held_out), torch.isin(test_set.labels, held_out)
    return Classes(
        replace(train_set, images=train_set.images[seen], labels=numbers[train_set.labels[seen]]),
        replace(test_set, images=test_set.images[unseen], labels=test_set.labels[unseen]),
    )


def recall_at_1(module: nn.Module, data: Pictures) -> float:
    """Percent of pictures whose nearest one is of the same class."""
    module.eval()
    with torch.no_grad():
        parts = [module(data.inputs(slice(i, i + 500))) for i in range(0, len(data), 500)]
    points = functional.normalize(torch.cat(parts))
    closeness = points @ points.T
    closeness.fill_diagonal_(-2)
    return 100 * float((data.labels[closeness.argmax(1)] == data.labels).float().mean())


def embedding(experiment: Experiment, name: str, seed: int) -> nn.Module:
    return network(name, experiment.pictures[0].images.shape[1], LENGTH, seed).to(experiment.device)


def by_margins(module: nn.Module, data: Pictures, seed: int) -> MarginHead:
    """Train by ArcFace; gives the centres of the classes."""
    generator = torch.Generator().manual_seed(seed)
    head = MarginHead(torch.randn(int(data.labels.max()) + 1, LENGTH, generator=generator), SCALE)

    def loss(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        margins = torch.full((len(labels),), MARGIN, device=x.device)
        return functional.cross_entropy(head(module(x), labels, margins), labels)

    train(module, data, SCHEDULE, seed, loss=loss, extra=head.to(data.images.device))
    return head


def taught(experiment: Experiment, lesson: str, seed: int) -> dict[str, float]:
    classes = parted(experiment)
    teacher, student = (embedding(experiment, name, seed) for name in (TEACHER, STUDENT))
    path = experiment.work / experiment.data / f"embedding-{seed}.pt"
    if not path.is_file():
        head = by_margins(teacher, classes.seen, seed)
        save(path, {"module": teacher.state_dict(), "centres": head.centres.detach()})
    kept = torch.load(path, weights_only=True, map_location=experiment.device)
    teacher.load_state_dict(kept["module"])
    terms = LESSONS[lesson]
    if terms is None:
        by_margins(student, classes.seen, seed)
    else:
        with Distiller(teacher, student, terms(kept["centres"]), hard=0.0, example=experiment.example) as kd:

            def loss(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
                return kd(x, labels, module(x))

            train(student, classes.seen, SCHEDULE, seed, loss=loss, extra=kd.adapters)
    return {"teacher": recall_at_1(teacher, classes.unseen), "student": recall_at_1(student, classes.unseen)}


if __name__ == "__main__":
    for experiment in parsed(__doc__, data=["fashion_mnist"]):
        for seed, lesson in product(experiment.seeds, LESSONS):
            experiment.once("embeddings", f"{lesson} {seed}", partial(taught, experiment, lesson, seed))
