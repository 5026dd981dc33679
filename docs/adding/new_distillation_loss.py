"""How to add a distillation loss.

A loss is a class in a file of its own in ``src/edgesmith/compress/distill/``, a ``Term``: a module whose ``forward``
turns what was seen of a batch (``Seen``: logits of student and teachers, labels, features of the layers that the user
paired) into the mean loss of the batch. Gradients must reach the student alone; what ``Seen`` holds of teachers has
none.

``needs_layers`` asks the user for pairs of layers; their features are collected by hooks, which the ``Distiller``
removes. A loss with parameters of its own sets ``needs_shapes`` and makes them in ``build``. ``hard`` is the weight of
the cross entropy with the labels beside it, ``weight`` the one of the loss: choose them as its paper does, so that
users need not.

The registration makes it known to the recipes of ``edgesmith optimize``. Its test compares the value with the formula,
written out element by element, and checks the gradient.

This guide runs: it adds a loss and lets a student learn from a teacher without labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgesmith.compress.distill import LOSSES, Distiller, Seen, Term


@LOSSES.register("centred-logits")
class CentredLogits(Term):
    """Squared distance of the logits, the mean of each example's taken off: what softmax does not see costs nothing.

    Args:
        weight: factor.
    """

    hard = 0.0

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight=weight)

    def forward(self, seen: Seen) -> Tensor:
        difference = seen.student - seen.teacher()
        return (difference - difference.mean(1, keepdim=True)).square().mean()


def main() -> None:
    torch.manual_seed(0)
    teacher, student = nn.Linear(8, 3), nn.Linear(8, 3)
    loss = Distiller(teacher, student, [CentredLogits()])
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    labels = torch.zeros(64, dtype=torch.int64)
    values = []
    for _ in range(200):
        x = torch.randn(64, 8)
        value = loss(x, labels, student(x))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    loss.close()
    print(f"loss {values[0]:.3f}, after training {values[-1]:.2e}")
    assert values[-1] < 1e-3 * values[0]
    x = torch.randn(256, 8)
    assert torch.equal(student(x).argmax(1), teacher(x).argmax(1))


if __name__ == "__main__":
    main()
