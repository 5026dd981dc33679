"""ShuffleNet v2: channel split and shuffle (Ma et al., arXiv:1807.11164)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import classifier, conv_norm, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

REPEATS = (4, 8, 4)
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Output channels of the stages and of the last convolution at each published width (Table 5)."""


def _channels(width: float) -> tuple[int, ...]:
    *stages, last = CHANNELS[1.0]
    scaled = (*(make_divisible(c * width, 4) for c in stages), make_divisible(last * max(1.0, width)))
    return CHANNELS.get(width, scaled)


def _branch(net: Builder, x: Value, channels: int, stride: int) -> Value:
    x = conv_norm(net, x, channels, 1, activation=Builder.relu, name="branch2.0")
    x = conv_norm(net, x, channels, 3, stride=stride, groups=channels, name="branch2.1")
    return conv_norm(net, x, channels, 1, activation=Builder.relu, name="branch2.2")


def _unit(net: Builder, x: Value, channels: int, stride: int) -> Value:
    half = channels // 2
    if stride == 1:
        kept, worked = net.split(x, (half, half))
    else:
        kept = conv_norm(net, x, x.channels, 3, stride=stride, groups=x.channels, name="branch1.0")
        kept = conv_norm(net, kept, half, 1, activation=Builder.relu, name="branch1.1")
        worked = x
    return net.channel_shuffle(net.concat([kept, _branch(net, worked, half, stride)]), 2)


def _shufflenet_v2(net: Builder, x: Value, variant: Variant, width: float) -> Mapping[str, Value]:
    *stages, last = _channels(width)
    x = conv_norm(net, x, 24, 3, stride=2, activation=Builder.relu, name="conv1")
    x = net.max_pool(x, 3, 2, padding=1)
    for number, (channels, repeats) in enumerate(zip(stages, REPEATS, strict=True), start=2):
        for repeat in range(variant.repeats(repeats)):
            with net.scope(f"stage{number}.{repeat}"):
                x = _unit(net, x, channels, stride=2 if repeat == 0 else 1)
    x = conv_norm(net, x, last, 1, activation=Builder.relu, name="conv5")
    return classifier(net, x, variant.classes)


@network(
    "shufflenet-v2-0.5",
    reference="arXiv:1807.11164",
    published=Published(41e6, 1.4e6, "megvii-model/ShuffleNet-Series, ShuffleNetV2"),
    multipliers=("width", "depth"),
)
def shufflenet_v2_half(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _shufflenet_v2(net, x, variant, 0.5 * variant.width)


@network(
    "shufflenet-v2-1.0",
    reference="arXiv:1807.11164",
    published=Published(146e6, 2.3e6, "megvii-model/ShuffleNet-Series, ShuffleNetV2"),
    widths=tuple(CHANNELS),
    multipliers=("width", "depth"),
)
def shufflenet_v2(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _shufflenet_v2(net, x, variant, variant.width)
