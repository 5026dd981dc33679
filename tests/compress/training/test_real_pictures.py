"""Published data sets: read whole, and a short training on a part of one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from edgesmith.compress.distill import Distiller, SoftLogits
from edgesmith.compress.distill.soft_logits import divergence
from edgesmith.compress.training import Batches, Flip, Settings, Shift, evaluate, fit, read_folder, read_idx

DATA = Path(__file__).parents[4] / "shared" / "material" / "datasets"
pytestmark = [
    pytest.mark.torch,
    pytest.mark.material,
    pytest.mark.skipif(not DATA.is_dir(), reason="the shared material is not beside the checkout"),
]


def fashion_mnist(part):
    folder = DATA / "fashion_mnist"
    return read_idx(folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz")


def network(width):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def test_fashion_mnist():
    train, test = fashion_mnist("train"), fashion_mnist("t10k")
    assert train.labels.bincount().tolist() == [6000] * 10 and test.labels.bincount().tolist() == [1000] * 10
    normalisation = train.normalisation()
    assert normalisation.mean == pytest.approx([0.2860], abs=5e-5)
    assert normalisation.std == pytest.approx([0.3530], abs=5e-5)


def test_a_distilled_student_is_nearer_to_its_teacher_than_one_taught_by_labels():
    train = Batches(fashion_mnist("train").subset(slice(2000)), 50, augment=(Shift(1), Flip()))
    test = train.evaluation(fashion_mnist("t10k").subset(slice(1000)))
    inputs = torch.cat([batch.inputs for batch in test])
    settings = Settings(epochs=3, lr=0.1)
    teacher, plain, student = network(16), network(8), network(8)
    history = fit(teacher, train, settings, validation=test, shown=False)
    assert history.top1 == evaluate(teacher, test) > 60
    fit(plain, train, settings, shown=False)
    with Distiller(teacher, student, [SoftLogits()]) as kd:
        fit(student, train, settings, loss=kd, shown=False)
    assert evaluate(student, test) > 60
    with torch.no_grad():
        targets = torch.softmax(teacher.eval()(inputs), 1)
        far, near = (divergence(targets, module.eval()(inputs)) for module in (plain, student))
    assert near < 0.8 * far


def test_sign_language_digits():
    folder = DATA / "sign_language_digits"
    train, test = (read_folder(folder, (16, 16), split=folder / "split.csv", part=part) for part in ("train", "test"))
    assert (len(train), len(test)) == (1649, 413)
    assert train.classes == test.classes == tuple("0123456789") and train.size == (3, 16, 16)
    assert train.pixels.float().std() > 20
