"""ShuffleNet v1: grouped pointwise convolutions with channel shuffle (Zhang et al., arXiv:1707.01083)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import classifier, conv_norm, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

GROUPS = 3
STAGES = ((240, 4), (480, 8), (960, 4))
"""Output channels and units of each stage for three groups (Table 1)."""

STEMS = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
"""Channels of the first convolution at each published width (megvii-model/ShuffleNet-Series)."""


def _unit(net: Builder, x: Value, channels: int, stride: int, first_groups: int) -> Value:
    middle = channels // 4
    added = channels - x.channels if stride == 2 else channels
    y = conv_norm(net, x, middle, 1, groups=first_groups, activation=Builder.relu, name="compress")
    y = net.channel_shuffle(y, GROUPS)
    y = conv_norm(net, y, middle, 3, stride=stride, groups=middle, name="depthwise")
    y = conv_norm(net, y, added, 1, groups=GROUPS, name="expand")
    if stride == 1:
        return net.relu(net.add(x, y))
    return net.relu(net.concat([net.avg_pool(x, 3, 2, padding=1), y]))


@network(
    "shufflenet-v1",
    reference="arXiv:1707.01083",
    published=Published(138e6, 1.9e6, "megvii-model/ShuffleNet-Series, ShuffleNetV1 1.0x (group=3)"),
    widths=tuple(STEMS),
    multipliers=("width", "depth"),
)
def shufflenet_v1(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    stem = STEMS.get(variant.width, make_divisible(24 * variant.width, 4 * GROUPS))
    x = conv_norm(net, x, stem, 3, stride=2, activation=Builder.relu, name="conv1")
    x = net.max_pool(x, 3, 2, padding=1)
    for number, (channels, repeats) in enumerate(STAGES, start=2):
        scaled = make_divisible(channels * variant.width, 4 * GROUPS)
        for repeat in range(variant.repeats(repeats)):
            first_groups = 1 if number == 2 and repeat == 0 else GROUPS
            with net.scope(f"stage{number}.{repeat}"):
                x = _unit(net, x, scaled, 2 if repeat == 0 else 1, first_groups)
    return classifier(net, x, variant.classes)
