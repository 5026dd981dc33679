"""AlexNet as published: two groups, local response normalisation (Krizhevsky et al., NeurIPS 2012)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import logits
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


@network(
    "alexnet",
    reference="ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS 2012",
    published=Published(724e6, 61e6, "Sze et al., arXiv:1703.09039, Table II"),
    image_size=227,
)
def alexnet(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    x = net.lrn(net.relu(net.conv(x, 96, 11, stride=4, padding=0, name="conv1")))
    x = net.max_pool(x, 3, 2)
    x = net.lrn(net.relu(net.conv(x, 256, 5, groups=2, name="conv2")))
    x = net.max_pool(x, 3, 2)
    x = net.relu(net.conv(x, 384, 3, name="conv3"))
    x = net.relu(net.conv(x, 384, 3, groups=2, name="conv4"))
    x = net.relu(net.conv(x, 256, 3, groups=2, name="conv5"))
    x = net.flatten(net.max_pool(x, 3, 2))
    x = net.relu(net.fc(x, 4096, name="fc6"))
    x = net.relu(net.fc(x, 4096, name="fc7"))
    return {"probabilities": net.softmax(logits(net, x, variant.classes, "fc8"))}
