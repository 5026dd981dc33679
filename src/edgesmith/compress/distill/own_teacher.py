"""Self-distillation from the deepest layer to earlier ones ("Be your own teacher", Zhang et al., arXiv:1905.08094)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.features import Features, on_example
from edgesmith.compress.distill.soft_logits import divergence, refuse_temperature
from edgesmith.compress.training.batches import Batch
from edgesmith.compress.training.evaluate import device_of, logits_of, modes_kept
from edgesmith.errors import BadInput

__all__ = ["OwnTeacher"]


class _Branch(nn.Module):
    """A classifier on earlier features, which become as many as the deepest layer has."""

    def __init__(self, channels: int, deepest: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, deepest, 1, bias=False),
            nn.BatchNorm2d(deepest),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(deepest, classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.features(features)
        return pooled, self.classifier(pooled)


class OwnTeacher:
    """A loss that adds classifiers to earlier layers, taught by labels and by the network's own end.

    ::

        own = OwnTeacher(student, ["layer1", "layer2"], "layer4", example=inputs)
        fit(student, data, settings, loss=own, extra=[own.adapters])
        own.close()

    The classifiers are trained with the network and left out of it afterwards: it costs nothing at run time.

    Args:
        student: the module that is trained.
        layers: earlier layers with features (N, C, H, W).
        deepest: the last layer with such features.
        example: inputs (N, ...) that show which shapes features have.
        alpha: share of the teacher in the earlier classifiers' targets; the labels have the rest.
        hint: weight of the squared distance to the deepest layer's pooled features.
        T: temperature.

    Raises:
        BadInput: a layer does not exist (similar names are listed) or has features of another shape, the student does
            not run on the example, or the temperature is not above 0 and finite.
    """

    def __init__(
        self,
        student: nn.Module,
        layers: Sequence[str],
        deepest: str,
        example: Tensor,
        *,
        alpha: float = 0.3,
        hint: float = 0.03,
        T: float = 3.0,
    ) -> None:
        self._layers, self._deepest = tuple(layers), deepest
        self._alpha, self._hint, self._temperature = alpha, hint, T
        refuse_temperature(T, "own teacher")
        self._caught = Features(student, (*layers, deepest), "the student")
        try:
            branches = self._branches(student, example)
        except BaseException:
            self.close()
            raise
        self.adapters = nn.ModuleList(branches)
        """The classifiers; their parameters are trained with the student."""
        self.adapters.to(device_of(student))
        self._caught.clear()

    def __call__(self, inputs: Tensor, labels: Tensor, outputs: object) -> Tensor:
        """The loss of a batch (N, ...) on which the student has just run."""
        final = logits_of(outputs).float()
        T = self._temperature
        with torch.autocast(final.device.type, enabled=False):
            total = functional.cross_entropy(final, labels)
            targets = torch.softmax(final.detach() / T, 1)
            goal = self._caught[self._deepest].detach().float().mean((2, 3))
            for branch, name in zip(self.adapters, self._layers, strict=True):
                pooled, logits = branch(self._caught[name].float())
                total = total + (1 - self._alpha) * functional.cross_entropy(logits, labels)
                total = total + self._alpha * T**2 * divergence(targets, logits / T)
                total = total + self._hint * (pooled - goal).square().sum(1).mean()
        self._caught.clear()
        return total

    def of_batch(self, module: nn.Module, batch: Batch) -> Tensor:
        """For ``fit``: runs the student."""
        return self(batch.inputs, batch.labels, module(batch.inputs))

    def _branches(self, student: nn.Module, example: Tensor) -> list[_Branch]:
        with modes_kept(student), torch.no_grad(), on_example("the student"):
            student.eval()
            outputs = student(example.to(device_of(student)))
        classes = logits_of(outputs).shape[1]
        channels = {}
        for name in (*self._layers, self._deepest):
            shape = self._caught[name].shape
            if len(shape) != 4:
                raise BadInput(f"features of shape {tuple(shape)}", where=name, hint="layers before the pooling")
            channels[name] = shape[1]
        return [_Branch(channels[name], channels[self._deepest], classes) for name in self._layers]

    def close(self) -> None:
        """Remove all hooks."""
        self._caught.close()
