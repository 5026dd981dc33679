"""Inception v3: factorised kernels (Szegedy et al., arXiv:1512.00567), without the auxiliary classifier."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import classifier, conv_norm
from edgesmith.zoo.builder import Builder, Padding, Value
from edgesmith.zoo.network import Published, Variant, network
from edgesmith.zoo.probe import Pair

Step = tuple[int, int | Pair]
"""Channels and kernel of a convolution in a branch; the last one strides where the block does."""


def _chain(net: Builder, x: Value, name: str, *steps: Step, stride: int = 1) -> Value:
    for index, (channels, kernel) in enumerate(steps):
        last = index == len(steps) - 1
        x = _layer(net, x, channels, kernel, f"{name}.{index}", stride if last else 1)
    return x


def _layer(net: Builder, x: Value, channels: int, kernel: int | Pair, name: str, stride: int = 1) -> Value:
    padding: Padding = 0 if stride == 2 else "half"
    return conv_norm(
        net, x, channels, kernel, stride=stride, padding=padding, activation=Builder.relu, epsilon=1e-3, name=name
    )


def _block_a(net: Builder, x: Value, pool: int) -> Value:
    return net.concat(
        [
            _chain(net, x, "branch1x1", (64, 1)),
            _chain(net, x, "branch5x5", (48, 1), (64, 5)),
            _chain(net, x, "branch3x3dbl", (64, 1), (96, 3), (96, 3)),
            _chain(net, net.avg_pool(x, 3, 1, padding=1), "branch_pool", (pool, 1)),
        ]
    )


def _block_b(net: Builder, x: Value) -> Value:
    return net.concat(
        [
            _chain(net, x, "branch3x3", (384, 3), stride=2),
            _chain(net, x, "branch3x3dbl", (64, 1), (96, 3), (96, 3), stride=2),
            net.max_pool(x, 3, 2),
        ]
    )


def _block_c(net: Builder, x: Value, inner: int) -> Value:
    row, column = (1, 7), (7, 1)
    return net.concat(
        [
            _chain(net, x, "branch1x1", (192, 1)),
            _chain(net, x, "branch7x7", (inner, 1), (inner, row), (192, column)),
            _chain(net, x, "branch7x7dbl", (inner, 1), (inner, column), (inner, row), (inner, column), (192, row)),
            _chain(net, net.avg_pool(x, 3, 1, padding=1), "branch_pool", (192, 1)),
        ]
    )


def _block_d(net: Builder, x: Value) -> Value:
    return net.concat(
        [
            _chain(net, x, "branch3x3", (192, 1), (320, 3), stride=2),
            _chain(net, x, "branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
            net.max_pool(x, 3, 2),
        ]
    )


def _fork(net: Builder, x: Value, name: str) -> list[Value]:
    return [_layer(net, x, 384, (1, 3), f"{name}.a"), _layer(net, x, 384, (3, 1), f"{name}.b")]


def _block_e(net: Builder, x: Value) -> Value:
    three = _fork(net, _chain(net, x, "branch3x3", (384, 1)), "branch3x3.fork")
    double = _fork(net, _chain(net, x, "branch3x3dbl", (448, 1), (384, 3)), "branch3x3dbl.fork")
    pool = _chain(net, net.avg_pool(x, 3, 1, padding=1), "branch_pool", (192, 1))
    return net.concat([_chain(net, x, "branch1x1", (320, 1)), net.concat(three), net.concat(double), pool])


@network(
    "inception-v3",
    reference="arXiv:1512.00567",
    published=Published(5.71e9, 23.8e6, "PyTorch torchvision, Inception_V3_Weights, less the auxiliary classifier"),
    image_size=299,
    probe_size=203,
)
def inception_v3(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    x = _layer(net, x, 32, 3, "stem.0", stride=2)
    x = conv_norm(net, x, 32, 3, padding=0, activation=Builder.relu, epsilon=1e-3, name="stem.1")
    x = net.max_pool(_layer(net, x, 64, 3, "stem.2"), 3, 2)
    x = _layer(net, x, 80, 1, "stem.3")
    x = conv_norm(net, x, 192, 3, padding=0, activation=Builder.relu, epsilon=1e-3, name="stem.4")
    x = net.max_pool(x, 3, 2)
    for letter, pool in zip("bcd", (32, 64, 64), strict=True):
        with net.scope(f"mixed5{letter}"):
            x = _block_a(net, x, pool)
    with net.scope("mixed6a"):
        x = _block_b(net, x)
    for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
        with net.scope(f"mixed6{letter}"):
            x = _block_c(net, x, inner)
    with net.scope("mixed7a"):
        x = _block_d(net, x)
    for letter in "bc":
        with net.scope(f"mixed7{letter}"):
            x = _block_e(net, x)
    return classifier(net, x, variant.classes)
