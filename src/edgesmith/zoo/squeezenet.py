"""SqueezeNet: fire modules (Iandola et al., arXiv:1602.07360); 1.1 is the authors' cheaper revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import deepened, make_divisible, pooled_features
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


class Fire(NamedTuple):
    """A fire module, behind a pooling where the stride is 2."""

    channels: int
    stride: int


def _fire(net: Builder, x: Value, squeeze: int, expand: int) -> Value:
    x = net.relu(net.conv(x, squeeze, 1, name="squeeze"))
    left = net.relu(net.conv(x, expand, 1, name="expand1x1"))
    right = net.relu(net.conv(x, expand, 3, name="expand3x3"))
    return net.concat([left, right])


def _squeezenet(
    net: Builder, x: Value, variant: Variant, stem: tuple[int, int], pooled_before: tuple[int, ...]
) -> Mapping[str, Value]:
    channels, kernel = stem
    x = net.relu(net.conv(x, make_divisible(channels * variant.width), kernel, stride=2, padding=0, name="conv1"))
    rows = [Fire(16 * (i // 2 + 1), 2 if i + 2 in pooled_before else 1) for i in range(8)]
    for number, (channels, stride) in enumerate(deepened(rows, variant), start=2):
        squeeze = make_divisible(channels * variant.width)
        if stride == 2:
            x = net.max_pool(x, 3, 2, ceil=True)
        with net.scope(f"fire{number}"):
            x = _fire(net, x, squeeze, expand=4 * squeeze)
    x = net.relu(net.conv(x, variant.classes, 1, name="conv10"))
    return {"logits": pooled_features(net, x)}


@network(
    "squeezenet-1.0",
    reference="arXiv:1602.07360",
    published=Published(None, 1.25e6, "arXiv:1602.07360, Table 1 (1,248,424)"),
    multipliers=("width", "depth"),
)
def squeezenet_1_0(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _squeezenet(net, x, variant, (96, 7), (2, 5, 9))


@network(
    "squeezenet-1.1",
    reference="arXiv:1602.07360",
    published=Published(0.35e9, 1.24e6, "PyTorch torchvision, SqueezeNet1_1_Weights.IMAGENET1K_V1"),
    multipliers=("width", "depth"),
)
def squeezenet_1_1(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    return _squeezenet(net, x, variant, (64, 3), (2, 4, 6))
