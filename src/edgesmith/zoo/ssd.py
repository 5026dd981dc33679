"""SSDLite on MobileNet v2 (arXiv:1801.04381, section 6.2): decoded boxes and scores, without NMS."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edgesmith.zoo.blocks import conv_norm
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.mobilenet_v2 import features
from edgesmith.zoo.network import Published, Variant, network

EXTRAS = (512, 256, 256, 128)
RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)
SMALLEST, LARGEST = 0.2, 0.95
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


def _anchors(sizes: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
    """Centre y, centre x, height and width, as shares of the picture, of every level's (H * W * anchors, 4) boxes."""
    scales = [*np.linspace(SMALLEST, LARGEST, len(sizes)), 1.0]
    levels = []
    for index, ((height, width), (scale, larger)) in enumerate(zip(sizes, pairwise(scales), strict=True)):
        shapes = [(scale / sqrt(r), scale * sqrt(r)) for r in RATIOS] + [(sqrt(scale * larger),) * 2]
        if index == 0:
            shapes = [(0.1, 0.1), *shapes[1:3]]
        y, x = np.mgrid[:height, :width]
        centres = np.stack([(y + 0.5) / height, (x + 0.5) / width], axis=-1)[:, :, None, :]
        boxes = np.tile(np.array(shapes), (height, width, 1, 1))
        grid = np.concatenate([np.broadcast_to(centres, boxes.shape), boxes], axis=-1)
        levels.append(grid.reshape(-1, 4).astype(np.float32))
    return levels


def _extra(net: Builder, x: Value, channels: int) -> Value:
    x = conv_norm(net, x, channels // 2, 1, activation=Builder.relu6, name="reduce")
    x = conv_norm(net, x, x.channels, 3, stride=2, groups=x.channels, activation=Builder.relu6, name="depthwise")
    return conv_norm(net, x, channels, 1, activation=Builder.relu6, name="pointwise")


def _predict(net: Builder, x: Value, anchors: int, values: int, name: str) -> Value:
    """(N, H * W * anchors, values)."""
    with net.scope(name):
        x = conv_norm(net, x, x.channels, 3, groups=x.channels, activation=Builder.relu6, name="depthwise")
        x = net.conv(x, anchors * values, 1, name="pointwise")
        batch, _, height, width = x.shape
        return net.reshape(net.transpose(x, (0, 2, 3, 1)), (batch, height * width * anchors, values))


def _decode(net: Builder, offsets: Value, anchors: NDArray[np.float32]) -> Value:
    """Corner boxes y0, x0, y1, x1 from offsets relative to the anchors."""
    with net.scope("decode"):
        centre, size = net.split(offsets, (2, 2), axis=2)
        anchor_centre = net.constant("anchor_centre", anchors[None, :, :2])
        anchor_size = net.constant("anchor_size", anchors[None, :, 2:])
        scale = net.constant("centre_scale", CENTRE_VARIANCE * anchors[None, :, 2:])
        variance = net.constant("size_variance", np.array(SIZE_VARIANCE, np.float32).reshape(1, 1, 1))
        centre = net.add(net.mul(centre, scale), anchor_centre)
        size = net.mul(net.exp(net.mul(size, variance)), anchor_size)
        half = net.mul(size, net.constant("half", np.full((1, 1, 1), 0.5, np.float32)))
        return net.concat([net.sub(centre, half), net.add(centre, half)], axis=2)


@network(
    "ssd-mobilenet-v2",
    reference="arXiv:1801.04381",
    published=Published(0.8e9, 4.3e6, "arXiv:1801.04381, Table 6"),
    image_size=320,
    classes=81,
    multipliers=("width",),
)
def ssd_mobilenet_v2(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Outputs "boxes" (N, A, 4) as shares of the picture and "scores" (N, A, classes); class 0 is background."""
    *_, (first, _), _, _, (_, x) = features(net, x, variant._replace(depth=1.0))
    x = conv_norm(net, x, 1280, 1, activation=Builder.relu6, name="features.18")
    levels = [first, x]
    for index, channels in enumerate(EXTRAS):
        with net.scope(f"extras.{index}"):
            x = _extra(net, x, channels)
        levels.append(x)
    anchors = _anchors([level.size for level in levels])
    offsets, scores = [], []
    for index, (level, boxes) in enumerate(zip(levels, anchors, strict=True)):
        count = len(boxes) // (level.size[0] * level.size[1])
        with net.scope(f"heads.{index}"):
            offsets.append(_predict(net, level, count, 4, "boxes"))
            scores.append(_predict(net, level, count, variant.classes, "scores"))
    decoded = _decode(net, net.concat(offsets, axis=1), np.concatenate(anchors))
    return {"boxes": decoded, "scores": net.sigmoid(net.concat(scores, axis=1))}
