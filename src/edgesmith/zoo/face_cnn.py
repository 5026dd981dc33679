"""A small face classifier for single-board computers: three convolutions on 90x90 grey pictures."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import logits
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


@network(
    "face-cnn",
    reference="Raspberry Pi 3 study of a face CNN with 848 identities",
    published=Published(None, 1_039_744, "layer table of the study; every layer has biases"),
    image_size=90,
    channels=1,
    classes=848,
)
def face_cnn(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    x = net.max_pool(net.relu(net.conv(x, 16, 7, padding=0, name="conv1")), 2, 2)
    x = net.max_pool(net.relu(net.conv(x, 48, 6, padding=0, name="conv2")), 3, 3)
    x = net.relu(net.conv(x, 96, 5, padding=0, name="conv3"))
    x = net.fc(net.flatten(x), 128, name="fc1")
    return {"probabilities": net.softmax(logits(net, x, variant.classes, "fc2"))}
