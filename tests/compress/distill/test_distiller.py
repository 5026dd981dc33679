"""Distillers in loops: hooks, gradients, several teachers, remembered outputs."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgesmith.compress.distill import (
    Angular,
    AttentionTransfer,
    Decoupled,
    Distiller,
    Hints,
    Margin,
    MovingTeacher,
    OwnTeacher,
    Peers,
    Relational,
    SimilarityPreserving,
    SoftLogits,
    Triplet,
    born_again,
    confident,
    mutual,
    weighted,
)
from edgesmith.compress.training import Batches, Flip, Pictures, Settings, evaluate, fit
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch


class Network(nn.Module):
    def __init__(self, width, seed=0, classes=3):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()),
            nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.head(self.pool(self.blocks(self.stem(x))))


def pictures(count=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randint(90, (count, 1, 8, 8), generator=generator)
    pixels[labels == 0, :, ::2] += 60
    pixels[labels == 1, :, :, ::2] += 60
    return Pictures(pixels.to(torch.uint8), labels)


@pytest.fixture(scope="module")
def data():
    return Batches(pictures(), 32)


@pytest.fixture(scope="module")
def teacher(data):
    module = Network(8)
    fit(module, data, Settings(epochs=6, lr=0.1), shown=False)
    assert evaluate(module, data.evaluation()) > 90
    return module


@pytest.fixture
def batch(data):
    return next(data.batches(0))


def hooks(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


TERMS = [
    SoftLogits(T=4),
    Decoupled(),
    Hints({"blocks.0": "blocks.0", "head:input": "head:input"}),
    AttentionTransfer({"blocks.0": "blocks.0", "blocks.1": "blocks.1"}),
    Relational({"pool": "pool"}),
    Relational(),
    SimilarityPreserving({"blocks.1": "blocks.1"}),
    Angular({"pool": "pool"}),
    Triplet(),
]


def copied(term):
    return type(term)(**({"layers": term.layers} if term.layers else {}))


@pytest.mark.parametrize("term", TERMS, ids=lambda t: type(t).__name__ + ("-layers" if t.layers else ""))
def test_every_loss_goes_down_and_changes_the_student_alone(term, teacher, data, batch):
    student = Network(4, seed=1)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    kd = Distiller(teacher, student, [copied(term)], hard=0, example=batch.inputs[:2])
    optimiser = torch.optim.Adam([*student.parameters(), *kd.adapters.parameters()], 0.01)
    values = []
    for _ in range(40):
        loss = kd(batch.inputs, batch.labels, student(batch.inputs))
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is None for p in teacher.parameters())
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < 0.6 * values[0]
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    for parameter in kd.adapters.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    kd.close()
    assert hooks(teacher) == hooks(student) == 0


def test_the_loss_is_the_weighted_sum_of_its_parts(teacher, batch):
    student = Network(4)
    terms = [SoftLogits(T=2, weight=0.7), AttentionTransfer({"blocks.0": "blocks.0"}, weight=5.0)]
    with Distiller(teacher, student, terms, hard=0.3) as kd:
        outputs = student(batch.inputs)
        total = kd(batch.inputs, batch.labels, outputs)
        expected = 0.3 * functional.cross_entropy(outputs, batch.labels)
        targets = torch.softmax(teacher(batch.inputs) / 2, 1)
        soft = 4 * functional.kl_div(torch.log_softmax(outputs / 2, 1), targets, reduction="batchmean")
        assert kd.parts["SoftLogits"].item() == pytest.approx(soft.item(), rel=1e-5)
        expected = expected + 0.7 * soft + 5 * kd.parts["AttentionTransfer"]
        assert set(kd.parts) == {"labels", "SoftLogits", "AttentionTransfer"}
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_parts_of_equal_losses_have_names_of_their_own(teacher, batch):
    student = Network(4)
    with Distiller(teacher, student, [SoftLogits(T=1), SoftLogits(T=4)]) as kd:
        kd(batch.inputs, batch.labels, student(batch.inputs))
        assert list(kd.parts) == ["labels", "SoftLogits", "SoftLogits 2"]


def test_the_weight_of_the_labels(teacher, batch):
    student = Network(4)
    centres = torch.eye(3)
    for terms, expected in (
        ([SoftLogits()], 0.1),
        ([AttentionTransfer({"stem": "stem"})], 1.0),
        ([AttentionTransfer({"stem": "stem"}), SoftLogits()], 0.1),
        ([Margin(centres), Angular()], 0.0),
    ):
        with Distiller(teacher, student, terms, example=batch.inputs) as kd:
            outputs = student(batch.inputs)
            total = kd(batch.inputs, batch.labels, outputs)
            parts = sum(term.weight * kd.parts[type(term).__name__] for term in terms)
            hard = expected * functional.cross_entropy(outputs, batch.labels)
            assert total.item() == pytest.approx((parts + hard).item(), rel=1e-5)


def test_wrong_layers_list_similar_names(teacher):
    student = Network(4)
    with pytest.raises(BadInput, match=r"the student: there is no layer 'block.1'[\s\S]*blocks\.1"):
        Distiller(teacher, student, [AttentionTransfer({"blocks.1": "block.1"})])
    with pytest.raises(BadInput, match=r"the teacher: there is no layer 'steam'[\s\S]*stem"):
        Distiller(teacher, student, [AttentionTransfer({"steam": "stem"})])
    assert hooks(teacher) == hooks(student) == 0


def test_layers_of_one_teacher_in_a_list_have_their_own_names(teacher, batch):
    student = Network(4, seed=1)
    losses = []
    for given in (teacher, [teacher]):
        with Distiller(given, student, [AttentionTransfer({"blocks.1": "blocks.1"})]) as kd:
            losses.append(kd(batch.inputs, batch.labels, student.eval()(batch.inputs)))
    assert torch.equal(*losses)


def test_mistakes_are_errors_and_leave_no_hooks(teacher, batch):
    student = Network(4)
    with pytest.raises(BadInput, match="example=inputs"):
        Distiller(teacher, student, [Hints({"stem": "stem"})])
    with pytest.raises(BadInput, match="no losses"):
        Distiller(teacher, student, [])
    with pytest.raises(BadInput, match="no layers"):
        Distiller(teacher, student, [AttentionTransfer({})])
    with pytest.raises(BadInput, match="temperature"):
        SoftLogits(T=0)
    assert hooks(teacher) == hooks(student) == 0
    kd = Distiller(teacher, student, [AttentionTransfer({"stem": "stem"})])
    with pytest.raises(BadInput, match="layer 'stem' has not run"):
        kd(batch.inputs, batch.labels, torch.zeros(32, 3))


def test_the_teacher_is_in_evaluation_mode_and_the_students_statistics_are_its_own(teacher, batch):
    student = Network(4)
    teacher.train()
    statistics = student.stem[1].running_mean.clone()
    kd = Distiller(teacher, student, [Hints({"stem": "stem"})], example=batch.inputs)
    assert not teacher.training and student.training and student.stem[1].training
    assert torch.equal(student.stem[1].running_mean, statistics)
    teacher.train()
    kd(batch.inputs, batch.labels, student(batch.inputs))
    assert not teacher.training
    kd.close()


def test_remembered_outputs_stand_in_for_the_teacher(teacher, data):
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = teacher, 0

        def forward(self, x):
            self.calls += 1
            return self.inner(x)

    counted, student = Counted(), Network(4)
    kd = Distiller(counted, student, [SoftLogits()])
    batch = next(data.batches(2))
    direct = kd(batch.inputs, batch.labels, student(batch.inputs))
    kd.remember(data.evaluation(size=40))
    calls = counted.calls
    looked_up = kd(batch.inputs, batch.labels, student(batch.inputs), batch.indices)
    assert counted.calls == calls and looked_up.item() == pytest.approx(direct.item(), rel=1e-4)
    kd(batch.inputs, batch.labels, student(batch.inputs))
    assert counted.calls == calls + 1
    with pytest.raises(BadInput, match="missing"):
        kd.remember(Batches(pictures(), 40))
    with (
        Distiller(teacher, student, [AttentionTransfer({"stem": "stem"})]) as other,
        pytest.raises(BadInput, match="not its features"),
    ):
        other.remember(data.evaluation())


@pytest.mark.parametrize("shares", [weighted([3, 1]), confident])
def test_several_teachers(teacher, batch, shares):
    second, student = Network(6, seed=3), Network(4)
    terms = [SoftLogits(T=2), AttentionTransfer({"1.stem": "stem"})]
    with Distiller([teacher, second], student, terms, shares=shares, hard=0) as kd:
        outputs = student(batch.inputs)
        kd(batch.inputs, batch.labels, outputs)
        second.eval()
        logits = torch.stack([teacher(batch.inputs), second(batch.inputs)])
        targets = (torch.softmax(logits / 2, 2) * shares(logits, batch.labels)[..., None]).sum(0)
        expected = 4 * functional.kl_div(torch.log_softmax(outputs / 2, 1), targets, reduction="batchmean")
        assert kd.parts["SoftLogits"].item() == pytest.approx(expected.item(), rel=1e-5)
        maps = [functional.normalize(m.stem(batch.inputs).square().mean(1).flatten(1)) for m in (second, student)]
        assert kd.parts["AttentionTransfer"].item() == pytest.approx(
            (maps[0] - maps[1]).square().sum(1).mean().item(), rel=1e-4
        )


def test_in_fit_with_augmentation_and_mixed_precision(teacher):
    student = Network(4, seed=1)
    train = Batches(pictures(), 32, augment=(Flip(),))
    terms = [SoftLogits(), Hints({"blocks.0": "blocks.0"})]
    with Distiller(teacher, student, terms, example=next(iter(train)).inputs) as kd:
        before = kd.adapters[1].regressors[0].weight.clone()
        history = fit(
            student,
            train,
            Settings(epochs=6, lr=0.05, amp="bf16"),
            loss=kd,
            extra=[kd.adapters],
            shown=False,
            validation=train.evaluation(),
        )
        assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss and history.top1 > 80
        assert not torch.equal(before, kd.adapters[1].regressors[0].weight)


def test_embeddings_by_margin_and_angle():
    """A student of another embedding length comes to place classes as the teacher does."""
    data = Batches(pictures(), 32)
    teacher = Network(8, classes=6)
    head = nn.Linear(6, 3)
    fit(
        teacher,
        data,
        Settings(epochs=8, lr=0.1),
        shown=False,
        extra=[head],
        loss=lambda module, x, y: functional.cross_entropy(head(module(x)), y),
    )
    batch = next(iter(data))
    for length in (6, 4):
        student = Network(4, seed=1, classes=length)
        kd = Distiller(teacher, student, [Margin(head.weight, scale=16), Angular()], example=batch.inputs)
        history = fit(student, data, Settings(epochs=8, lr=0.05), loss=kd, extra=[kd.adapters], shown=False)
        assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss
        kd.close()
        margin = kd.adapters[0]
        student.eval()
        with torch.no_grad():
            right = margin.head.cosines(student(batch.inputs)).argmax(1) == batch.labels
        assert right.float().mean() > 0.8


def test_mutual_learning_in_fit(data):
    peers = Peers(Network(4, seed=1), Network(6, seed=2))
    fit(peers, data, Settings(epochs=6, lr=0.1), loss=mutual(), shown=False)
    assert evaluate(peers, data.evaluation()) == evaluate(peers.students[0], data.evaluation()) > 80
    with pytest.raises(BadInput, match="two or more"):
        Peers(Network(4))


def test_moving_teacher_in_fit_and_after_an_interruption(data, tmp_path):
    def train(folder, epochs_before_kill=None):
        student = Network(4, seed=1)
        moving = MovingTeacher(student, 0.9)
        with Distiller(moving.module, student, [SoftLogits(T=1, weight=0.5)], hard=0.5) as kd:
            calls = []

            def loss(module, inputs, labels):
                calls.append(1)
                if epochs_before_kill and len(calls) > epochs_before_kill:
                    raise RuntimeError("killed")
                return kd(inputs, labels, module(inputs))

            fit(
                student,
                data,
                Settings(epochs=3, lr=0.1),
                loss=loss,
                callbacks=[moving],
                folder=folder,
                save_every=0,
                shown=False,
            )
        return student, moving

    whole, moving = train(None)
    assert not any(p.requires_grad for p in moving.module.parameters())
    gap = (moving.module.head.weight - whole.head.weight).abs().max()
    assert 0 < gap < 1
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, 5)
    resumed, moved = train(tmp_path)
    assert torch.equal(resumed.head.weight, whole.head.weight)
    assert torch.equal(moved.module.head.weight, moving.module.head.weight)


def test_born_again(data):
    taught = []

    def train(module, kd):
        taught.append(kd)
        fit(module, data, Settings(epochs=2, lr=0.1), loss=kd, shown=False)

    modules = born_again(3, lambda seed: Network(4, seed), train)
    assert len(modules) == 3 and taught[0] is None and all(taught[1:])
    assert not any(hooks(m) for m in modules)


def test_own_teacher(data, batch):
    student = Network(4, seed=1)
    own = OwnTeacher(student, ["stem", "blocks.0"], "blocks.1", batch.inputs)
    settings = Settings(epochs=6, lr=0.1)
    history = fit(student, data, settings, loss=own, extra=[own.adapters], validation=data.evaluation(), shown=False)
    assert history.top1 > 80 and history.epochs[-1].loss < 0.6 * history.epochs[0].loss
    student.train()
    own.adapters.eval()
    outputs = student(batch.inputs)
    total = own(batch.inputs, batch.labels, outputs)
    expected = functional.cross_entropy(outputs, batch.labels)
    stem = student.stem(batch.inputs)
    first = student.blocks[0](stem)
    goal = student.blocks[1](first).mean((2, 3))
    for branch, features in zip(own.adapters, (stem, first), strict=True):
        pooled, logits = branch(features)
        soft = functional.kl_div(torch.log_softmax(logits / 3, 1), torch.softmax(outputs / 3, 1), reduction="batchmean")
        expected = expected + 0.7 * functional.cross_entropy(logits, batch.labels) + 0.3 * 9 * soft
        expected = expected + 0.03 * ((pooled - goal) ** 2).sum(1).mean()
    assert total.item() == pytest.approx(expected.item(), rel=1e-4)
    own.close()
    assert not hooks(student)
    with pytest.raises(BadInput, match="before the pooling"):
        OwnTeacher(student, ["stem"], "pool", batch.inputs)
    assert not hooks(student)
