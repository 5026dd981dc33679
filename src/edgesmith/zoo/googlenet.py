"""GoogLeNet, without the auxiliary classifiers that only training uses (Szegedy et al., arXiv:1409.4842)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgesmith.zoo.blocks import classifier, conv_norm, logits, pooled_features
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

Layer = Callable[[Builder, Value, int, int, str], Value]
"""Convolution and ReLU: network, input, channels, kernel, name."""


class Inception(NamedTuple):
    """A row of Table 1: channels of the 1x1, 3x3 and 5x5 branches, with their reductions, and of the pool branch."""

    name: str
    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


STAGES = (
    (Inception("3a", 64, 96, 128, 16, 32, 32), Inception("3b", 128, 128, 192, 32, 96, 64)),
    (
        Inception("4a", 192, 96, 208, 16, 48, 64),
        Inception("4b", 160, 112, 224, 24, 64, 64),
        Inception("4c", 128, 128, 256, 24, 64, 64),
        Inception("4d", 112, 144, 288, 32, 64, 64),
        Inception("4e", 256, 160, 320, 32, 128, 128),
    ),
    (Inception("5a", 256, 160, 320, 32, 128, 128), Inception("5b", 384, 192, 384, 48, 128, 128)),
)


def _inception(net: Builder, x: Value, layer: Layer, row: Inception, five_kernel: int) -> Value:
    with net.scope(f"inception{row.name}"):
        one = layer(net, x, row.one, 1, "branch1")
        three = layer(net, layer(net, x, row.three_reduce, 1, "branch2.0"), row.three, 3, "branch2.1")
        five = layer(net, layer(net, x, row.five_reduce, 1, "branch3.0"), row.five, five_kernel, "branch3.1")
        pool = layer(net, net.max_pool(x, 3, 1, padding=1), row.pool, 1, "branch4.1")
        return net.concat([one, three, five, pool])


def _stages(net: Builder, x: Value, layer: Layer, five_kernel: int) -> Value:
    for number, stage in enumerate(STAGES):
        if number:
            kernel = 2 if number == 2 and five_kernel == 3 else 3
            x = net.max_pool(x, kernel, 2, ceil=True)
        for row in stage:
            x = _inception(net, x, layer, row, five_kernel)
    return x


def _conv_relu(net: Builder, x: Value, channels: int, kernel: int, name: str) -> Value:
    return net.relu(net.conv(x, channels, kernel, name=name))


def _conv_norm_relu(net: Builder, x: Value, channels: int, kernel: int, name: str) -> Value:
    return conv_norm(net, x, channels, kernel, activation=Builder.relu, epsilon=1e-3, name=name)


@network(
    "googlenet",
    reference="arXiv:1409.4842",
    published=Published(1.58e9, 7.0e6, "BVLC Caffe bvlc_googlenet, counted layer by layer from its deploy.prototxt"),
)
def googlenet(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """The paper's own network: biases and local response normalisation, no batch normalisation, real 5x5 kernels."""
    x = net.relu(net.conv(x, 64, 7, stride=2, name="conv1"))
    x = net.lrn(net.max_pool(x, 3, 2, ceil=True))
    x = _conv_relu(net, x, 64, 1, "conv2.reduce")
    x = net.lrn(_conv_relu(net, x, 192, 3, "conv2"))
    x = _stages(net, net.max_pool(x, 3, 2, ceil=True), _conv_relu, five_kernel=5)
    return {"probabilities": net.softmax(logits(net, pooled_features(net, x), variant.classes, "classifier"))}


@network(
    "googlenet-bn",
    reference="arXiv:1409.4842",
    published=Published(1.50e9, 6.62e6, "PyTorch torchvision, GoogLeNet_Weights.IMAGENET1K_V1"),
)
def googlenet_bn(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """The batch-normalised network in wide use, whose 5x5 branch has 3x3 kernels."""
    x = conv_norm(net, x, 64, 7, stride=2, activation=Builder.relu, epsilon=1e-3, name="conv1")
    x = net.max_pool(x, 3, 2, ceil=True)
    x = _conv_norm_relu(net, x, 64, 1, "conv2")
    x = _conv_norm_relu(net, x, 192, 3, "conv3")
    x = _stages(net, net.max_pool(x, 3, 2, ceil=True), _conv_norm_relu, five_kernel=3)
    return classifier(net, x, variant.classes)
