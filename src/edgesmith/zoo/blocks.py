"""Groups of layers that several network families share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeVar

from edgesmith.zoo.builder import Builder, Padding, Value
from edgesmith.zoo.network import Variant
from edgesmith.zoo.probe import Pair

__all__ = [
    "Activation",
    "InvertedResidual",
    "SqueezeExcite",
    "activate",
    "classifier",
    "conv_norm",
    "deepened",
    "inverted_residual",
    "logits",
    "make_divisible",
    "pooled_features",
]

Activation = Callable[[Builder, Value], Value]
"""A method of ``Builder``; ``activate`` calls the backend's method of that name."""

SMOOTH_SPREAD = 3.0
"""Input deviation of swish and hard swish: so wide that they act much like ReLU, which keeps the scale of its input.
Near zero they are quadratic, and deviations from the calibration batch would grow from block to block."""

GATE_DEVIATION = 0.5
LOGIT_DEVIATION = 3.0


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, never more than 10 % below (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class _Row(Protocol):
    """A named tuple of a paper's table: one block, with its stride."""

    @property
    def channels(self) -> int: ...

    @property
    def stride(self) -> int: ...


Row = TypeVar("Row", bound=_Row)


def deepened(rows: Sequence[Row], variant: Variant) -> Iterator[Row]:
    """The rows with every stage, a run of rows with equal channels, as long as the depth multiplier says.

    What a deeper stage has more repeats its last row at stride 1; what a shorter one lacks are its last rows at stride
    1, or its last ones where there are no such.
    """
    for _, run in groupby(rows, key=lambda row: row.channels):
        stage = list(run)
        count = variant.repeats(len(stage))
        last: Any = stage[-1]
        strided = [i for i, row in enumerate(stage) if row.stride > 1]
        others = [i for i, row in enumerate(stage) if row.stride == 1]
        yield from (stage[i] for i in sorted((strided + others)[:count]))
        for _ in range(count - len(stage)):
            yield last._replace(stride=1)


def activate(net: Builder, activation: Activation, x: Value) -> Value:
    """``activation`` as this backend has it."""
    activated: Value = getattr(net, activation.__name__)(x)
    return activated


def conv_norm(
    net: Builder,
    x: Value,
    channels: int,
    kernel: int | Pair,
    *,
    stride: int | Pair = 1,
    groups: int = 1,
    padding: Padding = "half",
    activation: Activation | None = None,
    epsilon: float = 1e-5,
    name: str = "",
) -> Value:
    """Convolution without bias, batch normalisation, and the activation if there is one."""
    with net.scope(name or "conv"):
        x = net.conv(x, channels, kernel, stride=stride, groups=groups, padding=padding, bias=False)
        smooth = activation in (Builder.swish, Builder.hard_swish)
        x = net.batch_norm(x, spread=SMOOTH_SPREAD if smooth else 1.0, epsilon=epsilon)
        return activate(net, activation, x) if activation else x


@dataclass(frozen=True, slots=True)
class SqueezeExcite:
    """Channel attention (arXiv:1709.01507): global average, two 1x1 convolutions, a gate that scales the channels."""

    squeezed: int
    activation: Activation = Builder.relu
    gate: Activation = Builder.hard_sigmoid

    def __call__(self, net: Builder, x: Value) -> Value:
        with net.scope("se"):
            y = net.global_avg_pool(x)
            y = activate(net, self.activation, net.conv(y, self.squeezed, 1, centre=False, name="fc1"))
            y = activate(net, self.gate, net.conv(y, x.channels, 1, centre=False, gain=GATE_DEVIATION, name="fc2"))
            return net.mul(x, y)


@dataclass(frozen=True, slots=True)
class InvertedResidual:
    """One MBConv block (arXiv:1801.04381): 1x1 expansion, depthwise kernel, optional SE, linear 1x1 projection."""

    channels: int
    expanded: int
    kernel: int = 3
    stride: int = 1
    activation: Activation = Builder.relu6
    squeeze: SqueezeExcite | None = None
    padding: Padding = "half"
    epsilon: float = 1e-5


def inverted_residual(net: Builder, x: Value, block: InvertedResidual) -> tuple[Value, Value]:
    """The block on ``x``: its expansion and its output.

    A block that expands nothing has no expansion layer, and one that keeps the shape adds its input.
    """
    expanded = x
    if block.expanded != x.channels:
        expanded = conv_norm(
            net, x, block.expanded, 1, activation=block.activation, epsilon=block.epsilon, name="expand"
        )
    y = conv_norm(
        net,
        expanded,
        block.expanded,
        block.kernel,
        stride=block.stride,
        groups=block.expanded,
        padding=block.padding,
        activation=block.activation,
        epsilon=block.epsilon,
        name="depthwise",
    )
    if block.squeeze:
        y = block.squeeze(net, y)
    y = conv_norm(net, y, block.channels, 1, epsilon=block.epsilon, name="project")
    return expanded, net.add(x, y) if y.shape == x.shape else y


def pooled_features(net: Builder, x: Value) -> Value:
    """Global average pooling to (N, C)."""
    return net.flatten(net.global_avg_pool(x))


def classifier(net: Builder, x: Value, classes: int) -> dict[str, Value]:
    """Global average pooling and one fully connected layer: the output "logits"."""
    return {"logits": logits(net, pooled_features(net, x), classes, "classifier")}


def logits(net: Builder, x: Value, classes: int, name: str) -> Value:
    """Scores of the classes before softmax, from (N, K) features; wide enough apart that one class stands out."""
    return net.fc(x, classes, gain=LOGIT_DEVIATION, name=name)
