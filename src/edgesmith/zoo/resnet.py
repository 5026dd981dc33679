"""Residual networks: ResNet (arXiv:1512.03385), ResNeXt (arXiv:1611.05431), SE-ResNet (arXiv:1709.01507)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesmith.zoo.blocks import SqueezeExcite, classifier, conv_norm, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

DEEP_PROBE_SIZE = 160


@dataclass(frozen=True, slots=True)
class Residual:
    """What the residual blocks of one network look like.

    Attributes:
        bottleneck: 1x1, 3x3, 1x1 with four times the channels, instead of two 3x3.
        groups, group_width: of the 3x3 convolution; its channels are groups * group_width * base / 64.
        stride_first: the first 1x1 convolution strides, as in the paper; otherwise the 3x3 does ("v1.5").
        squeeze: a squeeze-and-excite gate, reduction 16, before the addition.
    """

    bottleneck: bool
    groups: int = 1
    group_width: int = 64
    stride_first: bool = False
    squeeze: bool = False


def _branch(net: Builder, x: Value, base: int, stride: int, kind: Residual) -> Value:
    if not kind.bottleneck:
        y = conv_norm(net, x, base, 3, stride=stride, activation=Builder.relu, name="conv1")
        return conv_norm(net, y, base, 3, name="conv2")
    middle = max(1, base * kind.group_width // 64) * kind.groups
    first, second = (stride, 1) if kind.stride_first else (1, stride)
    y = conv_norm(net, x, middle, 1, stride=first, activation=Builder.relu, name="conv1")
    y = conv_norm(net, y, middle, 3, stride=second, groups=kind.groups, activation=Builder.relu, name="conv2")
    return conv_norm(net, y, 4 * base, 1, name="conv3")


def _block(net: Builder, x: Value, base: int, stride: int, kind: Residual) -> Value:
    y = _branch(net, x, base, stride, kind)
    if kind.squeeze:
        y = SqueezeExcite(max(1, y.channels // 16), gate=Builder.sigmoid)(net, y)
    if x.shape != y.shape:
        x = conv_norm(net, x, y.channels, 1, stride=stride, name="downsample")
    return net.relu(net.add(y, x))


def _resnet(net: Builder, x: Value, variant: Variant, depths: tuple[int, ...], kind: Residual) -> Mapping[str, Value]:
    stem = make_divisible(64 * variant.width)
    x = conv_norm(net, x, stem, 7, stride=2, activation=Builder.relu, name="stem")
    x = net.max_pool(x, 3, 2, padding=1)
    for stage, depth in enumerate(depths):
        for index in range(variant.repeats(depth)):
            with net.scope(f"layer{stage + 1}.{index}"):
                x = _block(net, x, stem << stage, 2 if stage and index == 0 else 1, kind)
    return classifier(net, x, variant.classes)


@network(
    "resnet-18",
    reference="arXiv:1512.03385",
    published=Published(1.8e9, 11.7e6, "arXiv:1512.03385, Table 1; parameters: PyTorch torchvision"),
    multipliers=("width", "depth"),
)
def resnet_18(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _resnet(net, x, variant, (2, 2, 2, 2), Residual(bottleneck=False))


@network(
    "resnet-34",
    reference="arXiv:1512.03385",
    published=Published(3.6e9, 21.8e6, "arXiv:1512.03385, Table 1; parameters: PyTorch torchvision"),
    multipliers=("width", "depth"),
    probe_size=DEEP_PROBE_SIZE,
)
def resnet_34(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _resnet(net, x, variant, (3, 4, 6, 3), Residual(bottleneck=False))


@network(
    "resnet-50",
    reference="arXiv:1512.03385",
    published=Published(4.09e9, 25.6e6, "PyTorch torchvision, ResNet50_Weights (v1.5: the 3x3 convolution strides)"),
    multipliers=("width", "depth"),
    probe_size=DEEP_PROBE_SIZE,
)
def resnet_50(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _resnet(net, x, variant, (3, 4, 6, 3), Residual(bottleneck=True))


@network(
    "resnext-50",
    reference="arXiv:1611.05431",
    published=Published(4.2e9, 25.0e6, "arXiv:1611.05431, Table 1 (32x4d)"),
    multipliers=("width", "depth"),
    probe_size=DEEP_PROBE_SIZE,
)
def resnext_50(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _resnet(net, x, variant, (3, 4, 6, 3), Residual(bottleneck=True, groups=32, group_width=4))


@network(
    "se-resnet-50",
    reference="arXiv:1709.01507",
    published=Published(3.87e9, 28.1e6, "arXiv:1709.01507, Table 2; parameters: timm"),
    multipliers=("width", "depth"),
    probe_size=DEEP_PROBE_SIZE,
)
def se_resnet_50(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _resnet(net, x, variant, (3, 4, 6, 3), Residual(bottleneck=True, stride_first=True, squeeze=True))
