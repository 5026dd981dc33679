"""The reference networks of MLPerf Tiny (arXiv:2106.07597), after the Keras models of github.com/mlcommons/tiny.

Convolutions and fully connected layers have biases there although batch normalisation follows, and padding is
TensorFlow's SAME.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import Activation, activate, deepened, logits, make_divisible, pooled_features
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.mobilenet_v1 import LAYERS
from edgesmith.zoo.network import Published, Variant, network
from edgesmith.zoo.probe import Pair

REFERENCE = "arXiv:2106.07597"
SOURCE = "github.com/mlcommons/tiny, benchmark/training: the .tflite file; parameters that Keras trains"
EPSILON = 1e-3

RESIDUAL_CHANNELS = (16, 32, 64)
PERSON_WIDTH = 0.25
KEYWORD_CHANNELS, KEYWORD_LAYERS = 64, 4
CODE, HIDDEN, HIDDEN_LAYERS = 8, 128, 4


def _layer(
    net: Builder,
    x: Value,
    channels: int,
    kernel: int | Pair,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = Builder.relu,
    name: str,
) -> Value:
    """Convolution with a bias, batch normalisation, and the activation if there is one."""
    with net.scope(name):
        x = net.conv(x, channels, kernel, stride=stride, groups=groups, padding="same")
        x = net.batch_norm(x, epsilon=EPSILON)
        return activate(net, activation, x) if activation else x


def _probabilities(net: Builder, x: Value, classes: int) -> Mapping[str, Value]:
    """Global average, one fully connected layer, softmax."""
    return {"probabilities": net.softmax(logits(net, pooled_features(net, x), classes, "classifier"))}


@network(
    "mlperf-tiny-image-classification",
    reference=REFERENCE,
    published=Published(12_501_632, 78_186, SOURCE),
    image_size=32,
    classes=10,
    multipliers=("width",),
)
def image_classification(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """ResNet-8 for CIFAR-10: three stacks of one residual block; a shortcut that changes the shape has no
    normalisation."""
    widths = [make_divisible(channels * variant.width) for channels in RESIDUAL_CHANNELS]
    x = _layer(net, x, widths[0], 3, name="stem")
    for index, channels in enumerate(widths):
        with net.scope(f"stack{index + 1}"):
            stride = 2 if index else 1
            y = _layer(net, x, channels, 3, stride=stride, name="conv1")
            y = _layer(net, y, channels, 3, activation=None, name="conv2")
            if x.shape != y.shape:
                x = net.conv(x, channels, 1, stride=stride, padding="same", name="shortcut")
            x = net.relu(net.add(x, y))
    return _probabilities(net, x, variant.classes)


@network(
    "mlperf-tiny-person-detection",
    reference=REFERENCE,
    published=Published(7_489_664, 216_322, SOURCE),
    image_size=96,
    classes=2,
    multipliers=("width", "depth"),
)
def person_detection(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Visual wake words: MobileNet v1 of width 0.25 with ReLU."""
    width = PERSON_WIDTH * variant.width
    x = _layer(net, x, make_divisible(32 * width), 3, stride=2, name="stem")
    for index, (channels, stride) in enumerate(deepened(LAYERS, variant), start=1):
        with net.scope(f"features.{index}"):
            x = _layer(net, x, x.channels, 3, stride=stride, groups=x.channels, name="depthwise")
            x = _layer(net, x, make_divisible(channels * width), 1, name="pointwise")
    return _probabilities(net, x, variant.classes)


@network(
    "mlperf-tiny-keyword-spotting",
    reference=REFERENCE,
    published=Published(2_656_768, 23_756, SOURCE),
    image_size=49,
    columns=10,
    channels=1,
    classes=12,
    multipliers=("width", "depth"),
)
def keyword_spotting(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """DS-CNN (arXiv:1711.07128) on 49 frames of 10 cepstral coefficients."""
    channels = make_divisible(KEYWORD_CHANNELS * variant.width)
    x = _layer(net, x, channels, (10, 4), stride=2, name="stem")
    for index in range(variant.repeats(KEYWORD_LAYERS)):
        with net.scope(f"layers.{index}"):
            x = _layer(net, x, channels, 3, groups=channels, name="depthwise")
            x = _layer(net, x, channels, 1, name="pointwise")
    return _probabilities(net, x, variant.classes)


@network(
    "mlperf-tiny-anomaly-detection",
    reference=REFERENCE,
    published=Published(264_192, 267_928, SOURCE),
    image_size=1,
    channels=640,
    classes=640,
)
def anomaly_detection(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """An autoencoder of fully connected layers on five frames of 128 mel bands; the input is "pictures" of 1x1."""
    x = net.flatten(x)
    for index, features in enumerate((*(HIDDEN,) * HIDDEN_LAYERS, CODE, *(HIDDEN,) * HIDDEN_LAYERS), start=1):
        with net.scope(f"layer{index}"):
            x = net.relu(net.batch_norm(net.fc(x, features), epsilon=EPSILON))
    return {"reconstruction": net.fc(x, variant.classes, name="output")}
