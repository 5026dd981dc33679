"""VGG: stacked 3x3 convolutions (Simonyan and Zisserman, arXiv:1409.1556)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import logits
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage of configuration D (Table 1)."""


@network(
    "vgg-16",
    reference="arXiv:1409.1556",
    published=Published(15.5e9, 138e6, "arXiv:1409.1556, Table 2; MACs: Sze et al., arXiv:1703.09039, Table II"),
    probe_size=96,
)
def vgg_16(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    index = 0
    for channels, convolutions in STAGES:
        for _ in range(convolutions):
            x = net.relu(net.conv(x, channels, 3, name=f"features.{index}"))
            index += 1
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    for index in range(2):
        x = net.relu(net.fc(x, 4096, name=f"classifier.{index}"))
    return {"logits": logits(net, x, variant.classes, "classifier.2")}
