"""MnasNet: platform-aware search (Tan et al., arXiv:1807.11626); B1 is the plain variant, A1 has squeeze and excite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


class Stage(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int
    squeeze: bool = False


B1 = (
    Stage(3, 1, 1, 16, 1), Stage(3, 2, 3, 24, 3), Stage(5, 2, 3, 40, 3), Stage(5, 2, 6, 80, 3),
    Stage(3, 1, 6, 96, 2), Stage(5, 2, 6, 192, 4), Stage(3, 1, 6, 320, 1),
)  # fmt: skip

A1 = (
    Stage(3, 1, 1, 16, 1), Stage(3, 2, 6, 24, 2), Stage(5, 2, 3, 40, 3, True), Stage(3, 2, 6, 80, 4),
    Stage(3, 1, 6, 112, 2, True), Stage(5, 2, 6, 160, 3, True), Stage(3, 1, 6, 320, 1),
)  # fmt: skip


def _mnasnet(net: Builder, x: Value, variant: Variant, stages: tuple[Stage, ...]) -> Mapping[str, Value]:
    x = conv_norm(net, x, make_divisible(32 * variant.width), 3, stride=2, activation=Builder.relu, name="stem")
    for number, stage in enumerate(stages, start=1):
        for repeat in range(variant.repeats(stage.repeats)):
            block = InvertedResidual(
                channels=make_divisible(stage.channels * variant.width),
                expanded=x.channels * stage.expansion,
                kernel=stage.kernel,
                stride=stage.stride if repeat == 0 else 1,
                activation=Builder.relu,
                squeeze=SqueezeExcite(max(1, x.channels // 4), gate=Builder.sigmoid) if stage.squeeze else None,
            )
            with net.scope(f"stages.{number}.{repeat}"):
                _, x = inverted_residual(net, x, block)
    x = conv_norm(net, x, 1280, 1, activation=Builder.relu, name="head")
    return classifier(net, x, variant.classes)


@network(
    "mnasnet-1.0",
    reference="arXiv:1807.11626",
    published=Published(315e6, 4.4e6, "tensorflow/tpu, models/official/mnasnet: MnasNet-B1"),
    widths=WIDTHS,
    multipliers=("width", "depth"),
)
def mnasnet_b1(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _mnasnet(net, x, variant, B1)


@network(
    "mnasnet-a1",
    reference="arXiv:1807.11626",
    published=Published(312e6, 3.9e6, "arXiv:1807.11626, Table 1"),
    widths=WIDTHS,
    multipliers=("width", "depth"),
)
def mnasnet_a1(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _mnasnet(net, x, variant, A1)
