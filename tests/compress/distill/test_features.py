"""What layers compute, whatever happens to it afterwards."""

import pytest
import torch
from torch import nn

from edgesmith.compress.distill import Distiller, OwnTeacher, Relational, SimilarityPreserving

pytestmark = pytest.mark.torch


class Shift(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace

    def forward(self, x):
        if self.inplace:
            x += 1
            return x
        return x + 1


def network(inplace, seed):
    torch.manual_seed(seed)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 3), Shift(inplace), nn.ReLU(inplace), head)


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 6, 6, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize("layer", ["0", "1:input", "1", "2:input", "2"])
def test_what_later_layers_write_in_place_changes_no_features(layer):
    x, labels = batch()
    found = []
    for inplace in (False, True):
        student = network(inplace, 1)
        with Distiller(network(inplace, 0), student, [Relational({layer: layer})], hard=1.0) as kd:
            loss = kd(x, labels, student(x))
            loss.backward()
        found.append([loss.detach(), *gradients(student)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_features_of_ones_own_earlier_layers_are_not_written_over():
    x, labels = batch()
    found = []
    for inplace in (False, True):
        student = network(inplace, 1)
        own = OwnTeacher(student, ["0"], "1", x)
        torch.manual_seed(2)
        for parameter in own.adapters.parameters():
            nn.init.normal_(parameter)
        loss = own(x, labels, student(x))
        loss.backward()
        own.close()
        found.append([loss.detach(), *gradients(student)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_parts_of_the_student_in_a_teacher_keep_their_modes_and_features():
    x, labels = batch()
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    student = nn.Sequential(stem, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    teacher = nn.Sequential(stem, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with Distiller(teacher, student, [SimilarityPreserving({"0": "0"})], hard=0.0, example=x) as kd:
        for _ in range(2):
            assert all(part.training for part in student.modules())
            value = kd(x, labels, student(x))
            evaluated = nn.Sequential(*stem).eval()(x).detach()
            stem.train()
            theirs, own = (torch.nn.functional.normalize(f.flatten(1) @ f.flatten(1).T) for f in (evaluated, stem(x)))
            assert value.item() == pytest.approx(3000 * (theirs - own).square().mean().item(), rel=1e-3)
        value.backward()
    assert stem[0].weight.grad.abs().sum() > 0
    assert not teacher[3].training
