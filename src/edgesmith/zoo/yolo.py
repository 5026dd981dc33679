"""Tiny YOLO detectors without NMS: v3 (Redmon, Farhadi, arXiv:1804.02767) and v4 (Wang et al., arXiv:2011.08036)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgesmith.zoo.blocks import conv_norm
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

ANCHORS = (((81, 82), (135, 169), (344, 319)), ((10, 14), (23, 27), (37, 58)))
"""Width and height in pixels of the boxes on the coarse and on the fine grid (yolov3-tiny.cfg)."""


def _layer(net: Builder, x: Value, channels: int, kernel: int, name: str, stride: int = 1) -> Value:
    return conv_norm(net, x, channels, kernel, stride=stride, activation=Builder.leaky_relu, name=name)


def _csp(net: Builder, x: Value, channels: int) -> tuple[Value, Value]:
    """Cross-stage partial block on half of the channels: what the neck taps, and the output with twice the channels."""
    x = _layer(net, x, channels, 3, "conv0")
    half = channels // 2
    first = _layer(net, net.split(x, (half, half))[1], half, 3, "conv1")
    second = _layer(net, first, half, 3, "conv2")
    tap = _layer(net, net.concat([second, first]), channels, 1, "conv3")
    return tap, net.concat([x, tap])


def _decode(
    net: Builder, x: Value, anchors: tuple[tuple[int, int], ...], stride: int, classes: int
) -> tuple[Value, Value]:
    """Boxes (N, A, 4): centre x, centre y, width, height as shares of the picture; scores (N, A, classes)."""
    batch, _, height, width = x.shape
    count, values = len(anchors), 5 + classes
    x = net.transpose(net.reshape(x, (batch, count, values, height, width)), (0, 1, 3, 4, 2))
    x = net.reshape(x, (batch, count * height * width, values))
    centre, size, objectness, kinds = net.split(x, (2, 2, 1, classes), axis=2)
    rows, columns = np.mgrid[:height, :width]
    grid = np.tile(np.stack([columns, rows], axis=-1).reshape(-1, 2), (count, 1))[None].astype(np.float32)
    picture = np.array([width * stride, height * stride])
    shapes = np.repeat(np.array(anchors) / picture, height * width, axis=0)[None].astype(np.float32)
    centre = net.add(net.sigmoid(centre), net.constant("grid", grid))
    centre = net.mul(centre, net.constant("cell", (stride / picture).reshape(1, 1, 2).astype(np.float32)))
    size = net.mul(net.exp(size), net.constant("anchors", shapes))
    return net.concat([centre, size], axis=2), net.mul(net.sigmoid(objectness), net.sigmoid(kinds))


def _detect(net: Builder, coarse: Value, fine: Value, variant: Variant, head_channels: int) -> Mapping[str, Value]:
    """Both heads: ``coarse`` strides by 32 pixels and, enlarged, joins ``fine``, which strides by 16."""
    outputs = 3 * (5 + variant.classes)
    up = net.resize(_layer(net, coarse, 128, 1, "neck.lateral"), 2)
    boxes, scores = [], []
    for index, (x, channels) in enumerate(((coarse, head_channels), (net.concat([up, fine]), 256))):
        with net.scope(f"heads.{index}"):
            x = net.conv(_layer(net, x, channels, 3, "hidden"), outputs, 1, gain=0.5, name="output")
            box, score = _decode(net, x, ANCHORS[index], 32 >> index, variant.classes)
        boxes.append(box)
        scores.append(score)
    return {"boxes": net.concat(boxes, axis=1), "scores": net.concat(scores, axis=1)}


@network(
    "yolo-tiny",
    reference="arXiv:2011.08036",
    published=Published(6.91e9 / 2, 6.06e6, "AlexeyAB/darknet, yolov4-tiny.cfg: 6.91 BFLOPs, two to a multiply-add"),
    image_size=416,
    classes=80,
    probe_size=224,
)
def yolo_v4_tiny(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """YOLOv4-tiny. Outputs "boxes" (N, A, 4) as shares of the picture and "scores" (N, A, classes)."""
    x = _layer(net, x, 32, 3, "stem.0", stride=2)
    x = _layer(net, x, 64, 3, "stem.1", stride=2)
    for index, channels in enumerate((64, 128, 256)):
        with net.scope(f"csp{index}"):
            fine, x = _csp(net, x, channels)
            x = net.max_pool(x, 2, 2)
    x = _layer(net, x, 512, 3, "neck.0")
    coarse = _layer(net, x, 256, 1, "neck.1")
    return _detect(net, coarse, fine, variant, head_channels=512)


@network(
    "yolo-v3-tiny",
    reference="arXiv:1804.02767",
    published=Published(5.56e9 / 2, 8.86e6, "pjreddie/darknet, yolov3-tiny.cfg: 5.56 BFLOPs, two to a multiply-add"),
    image_size=416,
    classes=80,
    probe_size=224,
)
def yolo_v3_tiny(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """YOLOv3-tiny. Outputs "boxes" (N, A, 4) as shares of the picture and "scores" (N, A, classes)."""
    for index, channels in enumerate((16, 32, 64, 128, 256)):
        fine = _layer(net, x, channels, 3, f"backbone.{index}")
        x = net.max_pool(fine, 2, 2)
    x = net.max_pool(_layer(net, x, 512, 3, "backbone.5"), 2, 1, padding=(0, 0, 1, 1))
    x = _layer(net, x, 1024, 3, "neck.0")
    coarse = _layer(net, x, 256, 1, "neck.1")
    return _detect(net, coarse, fine, variant, head_channels=512)
