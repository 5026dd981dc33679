"""U-Net for segmentation (Ronneberger et al., arXiv:1505.04597), padded and batch-normalised as it is used today."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.zoo.blocks import conv_norm, make_divisible
from edgesmith.zoo.builder import Builder, Value
from edgesmith.zoo.network import Published, Variant, network

DEPTH = 4
WIDTHS = (0.25, 0.5, 1.0)
SOURCE = "milesial/Pytorch-UNet, 3 channels and 2 classes"


def _double(net: Builder, x: Value, channels: int, name: str, middle: int | None = None) -> Value:
    x = conv_norm(net, x, middle or channels, 3, activation=Builder.relu, name=f"{name}.0")
    return conv_norm(net, x, channels, 3, activation=Builder.relu, name=f"{name}.1")


def _unet(net: Builder, x: Value, variant: Variant, learned_upsampling: bool) -> Mapping[str, Value]:
    base = make_divisible(64 * variant.width)
    skips = [_double(net, x, base, "inc")]
    deepest = DEPTH if learned_upsampling else DEPTH - 1
    for level in range(1, DEPTH + 1):
        x = net.max_pool(skips[-1], 2, 2)
        skips.append(_double(net, x, base << min(level, deepest), f"down{level}"))
    x = skips.pop()
    for level in reversed(range(DEPTH)):
        skip, name = skips.pop(), f"up{DEPTH - level}"
        if learned_upsampling:
            x = net.conv_transpose(x, x.channels // 2, 2, name=f"{name}.up")
            x = _double(net, net.concat([skip, x]), base << level, name)
        else:
            x = net.concat([skip, net.resize(x, 2, mode="linear")])
            x = _double(net, x, base << max(level - 1, 0), name, middle=x.channels // 2)
    return {"logits": net.conv(x, variant.classes, 1, name="outc")}


@network(
    "unet",
    reference="arXiv:1505.04597",
    published=Published(None, 31.04e6, SOURCE),
    image_size=256,
    classes=2,
    widths=WIDTHS,
    multipliers=("width",),
    probe_size=48,
)
def unet(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Transposed convolutions enlarge."""
    return _unet(net, x, variant, learned_upsampling=True)


@network(
    "unet-bilinear",
    reference="arXiv:1505.04597",
    published=Published(None, 17.27e6, SOURCE),
    image_size=256,
    classes=2,
    widths=WIDTHS,
    multipliers=("width",),
    probe_size=48,
)
def unet_bilinear(net: Builder, x: Value, variant: Variant) -> Mapping[str, Value]:
    """Bilinear Resize enlarges, and the deepest level has half the channels."""
    return _unet(net, x, variant, learned_upsampling=False)
