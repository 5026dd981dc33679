"""Arguments that do not fit: what is raised, and that the networks are as before."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from edgesmith.compress.distill import (
    Decoupled,
    Distiller,
    Hints,
    OwnTeacher,
    SoftLogits,
    Term,
    born_again,
    mutual,
    mutual_loss,
)
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch


def network(channels=3):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def assert_untouched(*modules):
    for module in modules:
        assert all(part.training for part in module.modules())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
        pickle.dumps(module)


def test_an_example_that_does_not_fit_is_refused_and_leaves_no_hooks():
    student, grey = network(), network(1)
    for teacher, whose in ((network(), "the student"), (grey, "the teacher")):
        example = torch.zeros(2, 5 if whose == "the student" else 3, 8, 8)
        with pytest.raises(BadInput, match=rf"{whose}: does not run on the example(?s:.)*example=inputs"):
            Distiller(teacher, student, [Hints({"0": "0"})], example=example)
        assert_untouched(student, teacher.train())
    with pytest.raises(BadInput, match="the student: does not run on the example"):
        OwnTeacher(student, ["0"], "1", torch.zeros(2, 5, 8, 8))
    assert_untouched(student)


def test_whatever_a_loss_raises_leaves_no_hooks():
    class Failing(Term):
        needs_layers = needs_shapes = True

        def build(self, shapes):
            raise ZeroDivisionError

    student, teacher = network(), network()
    with pytest.raises(ZeroDivisionError):
        Distiller(teacher, student, [Failing({"0": "0"})], example=torch.zeros(2, 3, 8, 8))
    assert_untouched(student, teacher.train())


def test_a_layer_that_has_not_run_leaves_no_hooks():
    student = network()
    student[1].spare = nn.Conv2d(4, 4, 1)
    with pytest.raises(BadInput, match=r"'1\.spare' has not run"):
        OwnTeacher(student, ["1.spare"], "1", torch.zeros(2, 3, 8, 8))
    assert_untouched(student)


def test_the_student_is_not_its_own_teacher():
    student = network()
    for teachers in (student, [network(), student]):
        with pytest.raises(BadInput, match=r"its own teacher(?s:.)*copy\.deepcopy\(student\)"):
            Distiller(teachers, student, [SoftLogits()])
        assert_untouched(student)
    with Distiller(copy.deepcopy(student), student, [SoftLogits()]):
        assert student.training


@pytest.mark.parametrize("T", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_are_above_0_and_finite(T):
    student, x, labels = network(), torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
    trained = []
    for use in (
        lambda: SoftLogits(T),
        lambda: Decoupled(T),
        lambda: OwnTeacher(student, ["0"], "1", x, T=T),
        lambda: mutual(T),
        lambda: mutual_loss([student(x), student(x)], labels, T=T),
        lambda: born_again(2, lambda generation: network(), lambda module, kd: trained.append(module), T=T),
    ):
        with pytest.raises(BadInput, match="temperature of"):
            use()
    assert_untouched(student)
    assert not trained
