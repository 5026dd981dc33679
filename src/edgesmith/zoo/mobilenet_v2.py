"""MobileNet v2: inverted residuals with linear bottlenecks (Sandler et al., arXiv:1801.04381)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgesmith.zoo.blocks import InvertedResidual, classifier, conv_norm, inverted_residual, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and first stride of each stage (Table 2)."""


def features(net: Builder, x: Value, variant: Variant) -> Iterator[tuple[Value, Value]]:
    """Expansion and output of every block; the stem comes first and stands for both."""
    width = variant.width
    x = conv_norm(net, x, make_divisible(32 * width), 3, stride=2, activation=Builder.relu6, name="features.0")
    yield x, x
    index = 0
    for expansion, channels, repeats, first_stride in STAGES:
        for repeat in range(variant.repeats(repeats)):
            index += 1
            with net.scope(f"features.{index}"):
                block = InvertedResidual(
                    make_divisible(channels * width),
                    x.channels * expansion,
                    stride=first_stride if repeat == 0 else 1,
                )
                expanded, x = inverted_residual(net, x, block)
            yield expanded, x


@network(
    "mobilenet-v2",
    reference="arXiv:1801.04381",
    published=Published(300e6, 3.4e6, "arXiv:1801.04381, Table 4"),
    widths=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    multipliers=("width", "depth"),
)
def mobilenet_v2(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    *blocks, (_, x) = features(net, x, variant)
    last = make_divisible(1280 * max(1.0, variant.width))
    x = conv_norm(net, x, last, 1, activation=Builder.relu6, name=f"features.{len(blocks) + 1}")
    return classifier(net, x, variant.classes)
