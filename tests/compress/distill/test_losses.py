"""Each loss against its formula, written out element by element."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgesmith.compress.distill import (
    LOSSES,
    Angular,
    AttentionTransfer,
    Decoupled,
    Hints,
    Margin,
    MarginHead,
    Relational,
    Seen,
    SimilarityPreserving,
    SoftLogits,
    Triplet,
    averaged,
    confident,
    mutual_loss,
    teacher_margins,
    weighted,
)
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch

COUNT, CLASSES = 6, 4


def seen(pairs=(), teachers=1, classes=CLASSES, shares=averaged, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(COUNT, classes, generator=generator, dtype=torch.float64).requires_grad_()
    logits = 3 * torch.randn(teachers, COUNT, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (COUNT,), generator=generator)
    return Seen(labels, student, logits, shares(logits, labels), pairs)


def features(*shape, seed=1):
    return torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_logits(temperature):
    batch = seen()
    expected = 0.0
    for own, theirs in zip(batch.student.tolist(), batch.teachers[0].tolist(), strict=True):
        expected += kl(softmax([v / temperature for v in theirs]), softmax([v / temperature for v in own]))
    expected *= temperature**2 / COUNT
    assert SoftLogits(temperature)(batch).item() == pytest.approx(expected)


def test_decoupled():
    batch, T = seen(), 2.0
    expected = 0.0
    rows = zip(batch.labels.tolist(), batch.student.tolist(), batch.teachers[0].tolist(), strict=True)
    for label, own, theirs in rows:
        p, q = (softmax([v / T for v in row]) for row in (theirs, own))
        right = kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        others_p, others_q = (softmax([v / T for i, v in enumerate(row) if i != label]) for row in (theirs, own))
        expected += T**2 * (3 * right + 5 * kl(others_p, others_q)) / COUNT
    assert Decoupled(T, 3.0, 5.0)(batch).item() == pytest.approx(expected)


def test_decoupled_parts_add_up_to_soft_logits():
    """``KL = KL(right, others) + (1 - p_right) KL(among others)``: equation 7 of the paper, for one example each."""
    batch = seen()
    p = torch.softmax(batch.teachers[0], 1)
    for i in range(COUNT):
        one = Seen(batch.labels[i : i + 1], batch.student[i : i + 1], batch.teachers[:, i : i + 1], batch.shares[:, :1])
        beta = 1 - p[i, batch.labels[i]].item()
        assert Decoupled(1.0, 1.0, beta)(one).item() == pytest.approx(SoftLogits(1.0)(one).item())


def test_decoupled_of_extreme_logits_is_finite():
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    batch = Seen(torch.tensor([0]), logits, 2 * logits.detach()[None], torch.ones(1, 1))
    value = Decoupled(1.0)(batch)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


def test_hints():
    theirs, own = features(5, 4, 4), features(3, 4, 4, seed=2)
    loss = Hints({"a": "b"}, relative=False).double()
    loss.build([(tuple(theirs.shape), tuple(own.shape))])
    loss.double()
    weight = loss.regressors[0].weight[:, :, 0, 0]
    assert weight.shape == (5, 3)
    mapped = torch.einsum("oc,nchw->nohw", weight, own)
    expected = ((mapped - theirs) ** 2).mean()
    batch = seen([(theirs, own)])
    assert loss(batch).item() == pytest.approx(expected.item())
    loss.relative = True
    assert loss(batch).item() == pytest.approx((expected / (theirs**2).mean()).item())
    with pytest.raises(BadInput, match=r"\(2, 3, 4\)"):
        Hints({"a": "b"}).build([((2, 3), (2, 3, 4))])


def test_attention():
    theirs, own = features(5, 4, 4), features(3, 8, 8, seed=2)
    small = own.view(COUNT, 3, 4, 2, 4, 2).mean((3, 5))
    total = 0.0
    for a, b in zip(theirs, small, strict=True):
        maps = [(f**2).sum(0).flatten() for f in (a, b)]
        maps = [m / m.norm() for m in maps]
        total += ((maps[0] - maps[1]) ** 2).sum().item()
    assert AttentionTransfer({"a": "b"})(seen([(theirs, own)])).item() == pytest.approx(total / COUNT)
    with pytest.raises(BadInput, match="no picture"):
        AttentionTransfer({"a": "b"})(seen([(features(3), features(3))]))


def huber(x):
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def test_relational():
    theirs, own = features(5), features(3, seed=2)

    def distances(points):
        raw = [[math.dist(a, b) for b in points.tolist()] for a in points.tolist()]
        mean = sum(map(sum, raw)) / (COUNT * (COUNT - 1))
        return [v / mean for row in raw for v in row]

    def angles(points):
        found = []
        for i in range(COUNT):
            for j in range(COUNT):
                for k in range(COUNT):
                    a, b = points[j] - points[i], points[k] - points[i]
                    size = a.norm() * b.norm()
                    found.append((a @ b / size).item() if size > 0 else 0.0)
        return found

    def mean_huber(a, b):
        return sum(huber(x - y) for x, y in zip(a, b, strict=True)) / len(a)

    expected = 2 * mean_huber(distances(own), distances(theirs)) + 3 * mean_huber(angles(own), angles(theirs))
    assert Relational({"a": "b"}, 2.0, 3.0)(seen([(theirs, own)])).item() == pytest.approx(expected)


def test_relational_of_equal_examples_has_a_gradient():
    own = torch.zeros(COUNT, 3, dtype=torch.float64, requires_grad=True)
    Relational({"a": "b"})(seen([(features(5), own)])).backward()
    assert own.grad.isfinite().all()


def test_similarity():
    theirs, own = features(5, 2, 2), features(3, seed=2)
    matrices = []
    for f in (theirs, own):
        rows = f.flatten(1)
        matrix = rows @ rows.T
        matrices.append(matrix / matrix.norm(dim=1, keepdim=True))
    expected = ((matrices[0] - matrices[1]) ** 2).sum() / COUNT**2
    assert SimilarityPreserving({"a": "b"})(seen([(theirs, own)])).item() == pytest.approx(expected.item())


def test_angular():
    batch = seen()
    loss = Angular()
    loss.build([((2, CLASSES), (2, CLASSES))])
    expected = 0.0
    for a, b in zip(batch.teachers[0], batch.student, strict=True):
        expected += (1 - (a @ b / a.norm() / b.norm()).item()) ** 2 / COUNT
    assert loss(batch).item() == pytest.approx(expected)
    assert not list(loss.parameters())
    mapped = Angular({"a": "b"})
    mapped.build([((2, 5, 2, 2), (2, 3))])
    assert mapped.maps[0].weight.shape == (20, 3)


def test_margin_logits():
    head = MarginHead(torch.randn(CLASSES, 3), 10.0)
    embeddings, labels, margins = torch.randn(COUNT, 3), torch.arange(COUNT) % CLASSES, torch.rand(COUNT) * 0.5
    angles = torch.acos(head.cosines(embeddings))
    logits = head(embeddings, labels, margins)
    for i in range(COUNT):
        for c in range(CLASSES):
            angle = angles[i, c].item() + (margins[i].item() if c == labels[i] else 0)
            if angle < math.pi:
                assert logits[i, c].item() == pytest.approx(10 * math.cos(angle), abs=1e-4)


def test_the_logit_of_the_right_class_falls_with_the_angle_all_the_way():
    head = MarginHead(torch.tensor([[1.0, 0.0]]), 1.0)
    angles = torch.linspace(0, math.pi, 200)
    embeddings = torch.stack((angles.cos(), angles.sin()), 1).requires_grad_()
    logits = head(embeddings, torch.zeros(200, dtype=torch.int64), torch.full((200,), 0.5))[:, 0]
    assert (logits.diff() < 0).all()
    logits.sum().backward()
    assert embeddings.grad.isfinite().all()


def test_margins_follow_the_teachers_angle():
    angles = torch.tensor([0.0, math.pi / 4, math.pi / 2, math.pi])
    embeddings = 5 * torch.stack((angles.cos(), angles.sin()), 1)
    found = teacher_margins(embeddings, torch.tensor([[2.0, 0.0]]), torch.zeros(4, dtype=torch.int64), 0.2, 0.5)
    assert found.tolist() == pytest.approx([0.5, 0.35, 0.2, 0.2], abs=1e-3)


def test_margin_loss_uses_the_teachers_centres_or_its_own():
    batch = seen()
    centres = features(CLASSES, seed=3)[:CLASSES].float()
    labels = batch.labels
    loss = Margin(centres, 0.1, 0.4, 8.0)
    loss.build([((2, CLASSES), (2, CLASSES))])
    assert not [p for p in loss.parameters() if p.requires_grad]
    student, teacher = batch.student.float(), batch.teachers.float()
    margins = teacher_margins(teacher[0], centres, labels, 0.1, 0.4)
    expected = functional.cross_entropy(MarginHead(centres, 8.0)(student, labels, margins), labels)
    assert loss(Seen(labels, student, teacher, batch.shares.float())).item() == pytest.approx(expected.item())
    other = Margin(centres)
    other.build([((2, CLASSES), (2, 7))])
    assert other.head.centres.shape == (CLASSES, 7) and other.head.centres.requires_grad
    with pytest.raises(BadInput, match="centres"):
        Margin(centres).build([((2, 9), (2, 9))])
    with pytest.raises(BadInput, match="margins"):
        Margin(centres, 0.5, 0.2)


def test_triplets():
    batch = seen(seed=4)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    batch = Seen(labels, batch.student, batch.teachers, batch.shares)

    def squared(points):
        unit = points / points.norm(dim=1, keepdim=True)
        return [[((a - b) ** 2).sum().item() for b in unit] for a in unit]

    own, theirs = squared(batch.student), squared(batch.teachers[0])
    triplets = [
        (a, p, n)
        for a in range(COUNT)
        for p in range(COUNT)
        for n in range(COUNT)
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]
    gaps = [max(0.0, theirs[a][n] - theirs[a][p]) for a, p, n in triplets]
    losses = []
    for (a, p, n), gap in zip(triplets, gaps, strict=True):
        losses.append(max(0.0, own[a][p] - own[a][n] + 0.3 * gap / max(gaps) + 0.2))
    expected = sum(losses) / sum(v > 0 for v in losses)
    assert Triplet()(batch).item() == pytest.approx(expected)
    alone = Seen(torch.arange(COUNT), batch.student, batch.teachers, batch.shares)
    assert Triplet()(alone).item() == 0


def test_mutual():
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(COUNT, CLASSES, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    labels = torch.arange(COUNT) % CLASSES
    expected = 0.0
    for i, own in enumerate(outputs):
        for row, label in zip(own.tolist(), labels.tolist(), strict=True):
            expected -= math.log(softmax(row)[label]) / COUNT
        for j, other in enumerate(outputs):
            if i != j:
                for p, q in zip(other.tolist(), own.tolist(), strict=True):
                    expected += kl(softmax(p), softmax(q)) / COUNT / 2
    assert mutual_loss(outputs, labels).item() == pytest.approx(expected)
    one, other = outputs[:2]
    mutual_loss([one, other], labels).backward()
    alone = one.detach().clone().requires_grad_()
    targets = torch.softmax(other.detach(), 1)
    (
        functional.cross_entropy(alone, labels)
        + functional.kl_div(torch.log_softmax(alone, 1), targets, reduction="batchmean")
    ).backward()
    assert torch.allclose(one.grad, alone.grad)


def test_shares_of_several_teachers():
    batch = seen(teachers=3)
    assert torch.allclose(averaged(batch.teachers, batch.labels), torch.full((3, COUNT), 1 / 3, dtype=torch.float64))
    fixed = weighted([1, 2, 1])(batch.teachers, batch.labels)
    assert fixed[:, 0].tolist() == [0.25, 0.5, 0.25]
    found = confident(batch.teachers, batch.labels)
    for i, label in enumerate(batch.labels.tolist()):
        wrong = [-math.log(softmax(batch.teachers[k, i].tolist())[label]) for k in range(3)]
        expected = [(1 - v) / 2 for v in softmax(wrong)]
        assert found[:, i].tolist() == pytest.approx(expected)
        assert found[:, i].argmax() == wrong.index(min(wrong))
    assert torch.allclose(found.sum(0), torch.ones(COUNT, dtype=torch.float64))
    targets = seen(teachers=3, shares=confident).targets(2.0)
    expected = sum(found[k][:, None] * torch.softmax(batch.teachers[k] / 2, 1) for k in range(3))
    assert torch.allclose(targets, expected)
    for wrong in ([], [-1, 2], [0, 0]):
        with pytest.raises(BadInput, match="weights"):
            weighted(wrong)
    with pytest.raises(BadInput, match="2 weights for 3"):
        weighted([1, 1])(batch.teachers, batch.labels)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_perfect_student_costs_least_and_gradients_are_right(name):
    """Every registered loss: minimal for the teacher's own features, and its gradient is that of finite differences."""
    layered = LOSSES[name].needs_layers
    centres = features(CLASSES, seed=3)[:CLASSES]
    made = LOSSES[name](centres) if name == "margin" else LOSSES[name](**({"layers": {"a": "b"}} if layered else {}))
    shape = (3, 4, 4) if layered else (CLASSES,)
    theirs = features(*shape, seed=5)
    made.build([(tuple(theirs.shape), tuple(theirs.shape))])
    made.double()
    for regressor in getattr(made, "regressors", ()):
        nn.init.dirac_(regressor.weight)
    batch = seen(seed=2)
    batch = Seen(torch.tensor([0, 0, 1, 1, 2, 2]), batch.student, batch.teachers, batch.shares)

    def value(own):
        if layered:
            return made(Seen(batch.labels, batch.student, batch.teachers, batch.shares, [(theirs, own)]))
        return made(Seen(batch.labels, own, batch.teachers, batch.shares))

    perfect = theirs if layered else batch.teachers[0]
    other = perfect + 0.5 * features(*shape, seed=6)
    if name not in ("margin", "triplet"):
        assert value(perfect).item() == pytest.approx(0, abs=1e-9) and value(other).item() > 1e-4
    assert torch.autograd.gradcheck(value, (other.requires_grad_(),), atol=1e-4, rtol=1e-3)
