"""The reference networks of MLPerf Tiny (arXiv:2106.07597), after the Keras models of github.com/mlcommons/tiny.

Convolutions and fully connected layers have biases there although batch normalisation follows, and padding is
TensorFlow's SAME.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import Activation, logits, pooled_features
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.mobilenet_v1 import LAYERS
from edgesmith.zoo.network import Published, Variant, network
from edgesmith.zoo.probe import Pair

REFERENCE = "arXiv:2106.07597"
SOURCE = "github.com/mlcommons/tiny, benchmark/training: the .tflite file; parameters that Keras trains"
EPSILON = 1e-3

RESIDUAL_CHANNELS = (16, 32, 64)
PERSON_WIDTH = 0.25
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
        return activation(net, x) if activation else x


def _probabilities(net: Builder, x: Value, classes: int) -> Mapping[str, Value]:
    """Global average, one fully connected layer, softmax."""
    return {"probabilities": net.softmax(logits(net, pooled_features(net, x), classes, "classifier"))}


@network(
    "mlperf-tiny-image-classification",
    reference=REFERENCE,
    published=Published(12_501_632, 78_186, SOURCE),
    image_size=32,
    classes=10,
)
def image_classification(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """ResNet-8 for CIFAR-10: three stacks of one residual block; a shortcut that changes the shape has no
    normalisation."""
    x = _layer(net, x, RESIDUAL_CHANNELS[0], 3, name="stem")
    for index, channels in enumerate(RESIDUAL_CHANNELS):
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
)
def person_detection(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Visual wake words: MobileNet v1 of width 0.25 with ReLU."""
    x = _layer(net, x, int(32 * PERSON_WIDTH), 3, stride=2, name="stem")
    for index, (channels, stride) in enumerate(LAYERS, start=1):
        with net.scope(f"features.{index}"):
            x = _layer(net, x, x.channels, 3, stride=stride, groups=x.channels, name="depthwise")
            x = _layer(net, x, int(channels * PERSON_WIDTH), 1, name="pointwise")
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
