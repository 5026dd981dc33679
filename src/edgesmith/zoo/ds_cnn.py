"""DS-CNN: keyword spotting by depthwise separable convolutions (Zhang et al., Hello Edge, arXiv:1711.07128)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import classifier, conv_norm, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Describe, Published, Variant, network
from edgesmith.zoo.probe import Pair

SOURCE = "arXiv:1711.07128, Table 5: operations / 2, less what adding biases is of them; memory less activations"


class Size(NamedTuple):
    """A row of Table 12: channels, separable layers, strides of the stem and of the first separable layer."""

    channels: int
    layers: int
    stem_stride: Pair
    first_stride: int


SMALL, MEDIUM, LARGE = Size(64, 4, (2, 2), 1), Size(172, 4, (2, 1), 2), Size(276, 5, (2, 1), 2)


def _ds_cnn(net: Builder, x: Value, variant: Variant, size: Size) -> Mapping[str, Value]:
    width = make_divisible(size.channels * variant.width, 4)

    def layer(x: Value, kernel: int | Pair, stride: int | Pair, groups: int, name: str) -> Value:
        return conv_norm(
            net, x, width, kernel, stride=stride, groups=groups, padding="same", activation=Builder.relu, name=name
        )

    x = layer(x, (10, 4), size.stem_stride, 1, "stem")
    for index in range(variant.repeats(size.layers)):
        with net.scope(f"layers.{index}"):
            x = layer(x, 3, 1 if index else size.first_stride, width, "depthwise")
            x = layer(x, 1, 1, 1, "pointwise")
    return classifier(net, x, variant.classes)


def _keywords(name: str, macs: float, parameters: float) -> Callable[[Describe], Describe]:
    """Registers a network on 49 frames of 10 cepstral coefficients and 12 classes."""
    return network(
        name,
        reference="arXiv:1711.07128",
        published=Published(macs, parameters, SOURCE),
        image_size=49,
        columns=10,
        channels=1,
        classes=12,
        multipliers=("width", "depth"),
    )


@_keywords("ds-cnn-s", 2.66e6, 22_604)
def ds_cnn_small(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _ds_cnn(net, x, variant, SMALL)


@_keywords("ds-cnn-m", 9.82e6, 135_032)
def ds_cnn_medium(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _ds_cnn(net, x, variant, MEDIUM)


@_keywords("ds-cnn-l", 28.3e6, 410_700)
def ds_cnn_large(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _ds_cnn(net, x, variant, LARGE)
