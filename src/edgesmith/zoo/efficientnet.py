"""EfficientNet (Tan and Le, arXiv:1905.11946): B0, which multipliers of width, depth and image size scale up."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import (
    InvertedResidual,
    SqueezeExcite,
    classifier,
    conv_norm,
    inverted_residual,
    make_divisible,
)
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
"""Expansion, kernel, first stride, channels and repeats of each stage (Table 1)."""

EPSILON = 1e-3

SCALING = {
    "b0": (1.0, 1.0, 224), "b1": (1.0, 1.1, 240), "b2": (1.1, 1.2, 260), "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380), "b5": (1.6, 2.2, 456), "b6": (1.8, 2.6, 528), "b7": (2.0, 3.1, 600),
}  # fmt: skip
"""Width, depth and image size of each network (tensorflow/tpu, efficientnet_builder.py)."""


@network(
    "efficientnet-b0",
    reference="arXiv:1905.11946",
    published=Published(390e6, 5.3e6, "arXiv:1905.11946, Table 2"),
    multipliers=("width", "depth"),
)
def efficientnet_b0(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Padding is TensorFlow's SAME, as in the released models."""
    x = conv_norm(
        net, x, make_divisible(32 * variant.width), 3, stride=2, padding="same",
        activation=Builder.swish, epsilon=EPSILON, name="stem",
    )  # fmt: skip
    index = 0
    for expansion, kernel, stride, channels, repeats in STAGES:
        for repeat in range(variant.repeats(repeats)):
            block = InvertedResidual(
                channels=make_divisible(channels * variant.width),
                expanded=x.channels * expansion,
                kernel=kernel,
                stride=stride if repeat == 0 else 1,
                activation=Builder.swish,
                squeeze=SqueezeExcite(max(1, x.channels // 4), activation=Builder.swish, gate=Builder.sigmoid),
                padding="same",
                epsilon=EPSILON,
            )
            with net.scope(f"blocks.{index}"):
                _, x = inverted_residual(net, x, block)
            index += 1
    x = conv_norm(
        net, x, make_divisible(1280 * variant.width), 1, activation=Builder.swish, epsilon=EPSILON, name="head"
    )
    return classifier(net, x, variant.classes)
