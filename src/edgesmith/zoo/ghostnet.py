"""GhostNet: half of the features come from cheap depthwise convolutions (Han et al., arXiv:1911.11907)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import Activation, SqueezeExcite, conv_norm, deepened, logits, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


class Row(NamedTuple):
    """A row of Table 1."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    stride: int


ROWS = (
    Row(3, 16, 16, False, 1), Row(3, 48, 24, False, 2), Row(3, 72, 24, False, 1), Row(5, 72, 40, True, 2),
    Row(5, 120, 40, True, 1), Row(3, 240, 80, False, 2), Row(3, 200, 80, False, 1), Row(3, 184, 80, False, 1),
    Row(3, 184, 80, False, 1), Row(3, 480, 112, True, 1), Row(3, 672, 112, True, 1), Row(5, 672, 160, True, 2),
    Row(5, 960, 160, False, 1), Row(5, 960, 160, True, 1), Row(5, 960, 160, False, 1), Row(5, 960, 160, True, 1),
)  # fmt: skip


def _ghost(net: Builder, x: Value, channels: int, activation: Activation | None, name: str) -> Value:
    with net.scope(name):
        half = -(-channels // 2)
        primary = conv_norm(net, x, half, 1, activation=activation, name="primary")
        cheap = conv_norm(net, primary, half, 3, groups=half, activation=activation, name="cheap")
        y = net.concat([primary, cheap])
        return y if y.channels == channels else net.take_channels(y, channels)


def _bottleneck(net: Builder, x: Value, row: Row, width: float) -> Value:
    expanded = make_divisible(row.expanded * width, 4)
    channels = make_divisible(row.channels * width, 4)
    y = _ghost(net, x, expanded, Builder.relu, "ghost1")
    if row.stride > 1:
        y = conv_norm(net, y, expanded, row.kernel, stride=row.stride, groups=expanded, name="depthwise")
    if row.squeeze:
        y = SqueezeExcite(make_divisible(expanded / 4, 4))(net, y)
    y = _ghost(net, y, channels, None, "ghost2")
    if x.shape != y.shape:
        x = conv_norm(net, x, x.channels, row.kernel, stride=row.stride, groups=x.channels, name="shortcut.0")
        x = conv_norm(net, x, channels, 1, name="shortcut.1")
    return net.add(y, x)


@network(
    "ghostnet",
    reference="arXiv:1911.11907",
    published=Published(141e6, 5.2e6, "arXiv:1911.11907, comparison on ImageNet"),
    widths=(0.5, 1.0, 1.3),
    multipliers=("width", "depth"),
)
def ghostnet(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    width = variant.width
    x = conv_norm(net, x, make_divisible(16 * width, 4), 3, stride=2, activation=Builder.relu, name="stem")
    for index, row in enumerate(deepened(ROWS, variant)):
        with net.scope(f"blocks.{index}"):
            x = _bottleneck(net, x, row, width)
    x = conv_norm(net, x, make_divisible(960 * width, 4), 1, activation=Builder.relu, name="conv_last")
    x = net.relu(net.conv(net.global_avg_pool(x), 1280, 1, name="conv_head"))
    return {"logits": logits(net, net.flatten(x), variant.classes, "classifier")}
