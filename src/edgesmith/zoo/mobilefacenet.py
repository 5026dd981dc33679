"""MobileFaceNet: face embeddings with a global depthwise convolution (Chen et al., arXiv:1804.07573)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import InvertedResidual, conv_norm, inverted_residual, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, repeats and first stride of each stage (Table 1)."""


@network(
    "mobilefacenet",
    reference="arXiv:1804.07573",
    published=Published(221e6, 0.99e6, "arXiv:1804.07573, section 3.3"),
    image_size=112,
    classes=128,
    multipliers=("width", "depth"),
)
def mobilefacenet(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """``classes`` is the length of the embedding."""
    stem, head = make_divisible(64 * variant.width), make_divisible(512 * variant.width)
    x = conv_norm(net, x, stem, 3, stride=2, activation=Builder.prelu, name="stem.0")
    x = conv_norm(net, x, stem, 3, groups=stem, activation=Builder.prelu, name="stem.1")
    index = 0
    for expansion, channels, repeats, stride in STAGES:
        for repeat in range(variant.repeats(repeats)):
            block = InvertedResidual(
                channels=make_divisible(channels * variant.width),
                expanded=x.channels * expansion,
                stride=stride if repeat == 0 else 1,
                activation=Builder.prelu,
            )
            with net.scope(f"blocks.{index}"):
                _, x = inverted_residual(net, x, block)
            index += 1
    x = conv_norm(net, x, head, 1, activation=Builder.prelu, name="head.0")
    x = conv_norm(net, x, head, x.size, groups=head, padding=0, name="head.1")
    x = conv_norm(net, x, variant.classes, 1, name="head.2")
    return {"embedding": net.flatten(x)}
