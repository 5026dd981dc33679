"""MobileNet v1: depthwise separable convolutions (Howard et al., arXiv:1704.04861)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import classifier, conv_norm, deepened, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


class Layer(NamedTuple):
    """A separable layer of Table 1."""

    channels: int
    stride: int


LAYERS = (
    Layer(64, 1), Layer(128, 2), Layer(128, 1), Layer(256, 2), Layer(256, 1),
    Layer(512, 2), *(Layer(512, 1),) * 5, Layer(1024, 2), Layer(1024, 1),
)  # fmt: skip

EPSILON = 1e-3


@network(
    "mobilenet-v1",
    reference="arXiv:1704.04861",
    published=Published(569e6, 4.2e6, "arXiv:1704.04861, Table 4"),
    widths=(0.25, 0.5, 0.75, 1.0),
    multipliers=("width", "depth"),
)
def mobilenet_v1(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Padding is TensorFlow's SAME and the activation ReLU6, as in the released models."""

    def layer(x: Value, channels: int, kernel: int, stride: int, groups: int, name: str) -> Value:
        return conv_norm(
            net, x, channels, kernel, stride=stride, groups=groups, padding="same",
            activation=Builder.relu6, epsilon=EPSILON, name=name,
        )  # fmt: skip

    x = layer(x, make_divisible(32 * variant.width), 3, 2, 1, "stem")
    for index, (channels, stride) in enumerate(deepened(LAYERS, variant), start=1):
        with net.scope(f"features.{index}"):
            x = layer(x, x.channels, 3, stride, x.channels, "depthwise")
            x = layer(x, make_divisible(channels * variant.width), 1, 1, 1, "pointwise")
    return classifier(net, x, variant.classes)
