"""LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 1998)."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import logits
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network


@network(
    "lenet-5",
    reference="Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86 (1998)",
    published=Published(None, 60e3, "Proc. IEEE 86 (1998), section II.B"),
    image_size=32,
    channels=1,
    classes=10,
)
def lenet_5(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """As it is built today: C3 sees all of S2's maps, pools have no weights, the output is a softmax."""
    x = net.avg_pool(net.tanh(net.conv(x, 6, 5, padding=0, name="c1")), 2, 2)
    x = net.avg_pool(net.tanh(net.conv(x, 16, 5, padding=0, name="c3")), 2, 2)
    x = net.tanh(net.fc(net.flatten(x), 120, name="c5"))
    x = net.tanh(net.fc(x, 84, name="f6"))
    return {"probabilities": net.softmax(logits(net, x, variant.classes, "output"))}
