"""MobileNet v3: searched inverted residuals, hard swish, squeeze and excite (Howard et al., arXiv:1905.02244)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import (
    InvertedResidual,
    SqueezeExcite,
    conv_norm,
    deepened,
    inverted_residual,
    logits,
    make_divisible,
    pooled_features,
)
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.25)
EPSILON = 1e-3
STEM = 16
RE, HS = Builder.relu, Builder.hard_swish


class Row(NamedTuple):
    """A row of Table 1 or 2; the activation is hard swish from the channels given to ``_mobilenet_v3`` on."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, 1), Row(3, 64, 24, False, 2), Row(3, 72, 24, False, 1), Row(5, 72, 40, True, 2),
    Row(5, 120, 40, True, 1), Row(5, 120, 40, True, 1), Row(3, 240, 80, False, 2), Row(3, 200, 80, False, 1),
    Row(3, 184, 80, False, 1), Row(3, 184, 80, False, 1), Row(3, 480, 112, True, 1), Row(3, 672, 112, True, 1),
    Row(5, 672, 160, True, 2), Row(5, 960, 160, True, 1), Row(5, 960, 160, True, 1),
)  # fmt: skip

SMALL = (
    Row(3, 16, 16, True, 2), Row(3, 72, 24, False, 2), Row(3, 88, 24, False, 1), Row(5, 96, 40, True, 2),
    Row(5, 240, 40, True, 1), Row(5, 240, 40, True, 1), Row(5, 120, 48, True, 1), Row(5, 144, 48, True, 1),
    Row(5, 288, 96, True, 2), Row(5, 576, 96, True, 1), Row(5, 576, 96, True, 1),
)  # fmt: skip


def _mobilenet_v3(
    net: Builder, x: Value, variant: Variant, rows: tuple[Row, ...], hard_swish_from: int, last: int
) -> Mapping[str, Value]:
    """Expansions are multiples of what comes in, and the last layer becomes wider, not narrower, as in the released
    models."""
    width, rows = variant.width, tuple(deepened(rows, variant))
    x = conv_norm(net, x, make_divisible(STEM * width), 3, stride=2, activation=HS, epsilon=EPSILON, name="features.0")
    incoming = (STEM, *(row.channels for row in rows))
    for index, (row, before) in enumerate(zip(rows, incoming, strict=False), start=1):
        expanded = make_divisible(x.channels * row.expanded / before)
        block = InvertedResidual(
            channels=make_divisible(row.channels * width),
            expanded=expanded,
            kernel=row.kernel,
            stride=row.stride,
            activation=HS if row.channels >= hard_swish_from else RE,
            squeeze=SqueezeExcite(make_divisible(expanded / 4)) if row.squeeze else None,
            epsilon=EPSILON,
        )
        with net.scope(f"features.{index}"):
            _, x = inverted_residual(net, x, block)
    x = conv_norm(net, x, 6 * x.channels, 1, activation=HS, epsilon=EPSILON, name=f"features.{len(rows) + 1}")
    x = net.hard_swish(net.fc(pooled_features(net, x), make_divisible(last * max(1.0, width)), name="classifier.0"))
    return {"logits": logits(net, x, variant.classes, "classifier.3")}


@network(
    "mobilenet-v3-large",
    reference="arXiv:1905.02244",
    published=Published(219e6, 5.4e6, "arXiv:1905.02244, Table 3"),
    widths=WIDTHS,
    multipliers=("width", "depth"),
)
def mobilenet_v3_large(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _mobilenet_v3(net, x, variant, LARGE, hard_swish_from=80, last=1280)


@network(
    "mobilenet-v3-small",
    reference="arXiv:1905.02244",
    published=Published(56e6, 2.5e6, "arXiv:1905.02244, Table 3"),
    widths=WIDTHS,
    multipliers=("width", "depth"),
)
def mobilenet_v3_small(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _mobilenet_v3(net, x, variant, SMALL, hard_swish_from=40, last=1024)
