"""What the zoo knows about a network, and the registry of all networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

from edgesmith.registry import Registry
from edgesmith.zoo.builder import Builder, Value

__all__ = ["NETWORKS", "Network", "Published", "Variant", "network"]


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of a network as its source prints them, so rounded; None where the source has no such figure.

    Attributes:
        macs: multiply-adds of convolutions and fully connected layers for one image of the default size.
        parameters: weights, biases, and the scale and shift of batch normalisation.
        source: where the figures were printed.
    """

    macs: float | None
    parameters: float | None
    source: str


class Variant(NamedTuple):
    """What a caller may vary: output classes, and multipliers of channels (width) and of layers (depth)."""

    classes: int
    width: float = 1.0
    depth: float = 1.0

    def repeats(self, count: int) -> int:
        """How often a block is repeated that the paper repeats ``count`` times (arXiv:1905.11946, section 3.3)."""
        return ceil(round(count * self.depth, 6))


Multiplier = Literal["width", "depth"]
Describe = Callable[[Builder, Value, Variant], Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Network:
    """One published network.

    Attributes:
        name: the name it is built by.
        reference: the paper it comes from.
        published: MACs and parameters at the default size, classes and width.
        describe: builds the layers on an input value and returns the outputs by name.
        image_size: default height in pixels, and width where ``columns`` is None.
        channels: of the input picture.
        classes: default number of classes (features for an embedding).
        widths: width multipliers that may be asked for.
        probe_size: height and width of the calibration pictures: the image size, or less where that takes too long.
        columns: width in pixels of pictures that are not square, whatever their height.
        multipliers: what the description heeds of its ``Variant``.
    """

    name: str
    reference: str
    published: Published
    describe: Describe
    image_size: int
    channels: int
    classes: int
    widths: tuple[float, ...]
    probe_size: int
    columns: int | None = None
    multipliers: tuple[Multiplier, ...] = ()

    def size(self, image_size: int | None = None) -> tuple[int, int]:
        """Height and width in pixels, for another ``image_size`` or for the default."""
        rows = self.image_size if image_size is None else image_size
        return rows, rows if self.columns is None else self.columns


NETWORKS: Registry[Network] = Registry("zoo network", "edgesmith.zoo", skipped=("torch",))


def network(
    name: str,
    *,
    reference: str,
    published: Published,
    image_size: int = 224,
    channels: int = 3,
    classes: int = 1000,
    widths: tuple[float, ...] = (1.0,),
    probe_size: int | None = None,
    columns: int | None = None,
    multipliers: tuple[Multiplier, ...] = (),
) -> Callable[[Describe], Describe]:
    """Decorator that registers a describing function as a network; the arguments are ``Network``'s."""

    def add(describe: Describe) -> Describe:
        size = probe_size or image_size
        NETWORKS.register(name)(
            Network(
                name, reference, published, describe, image_size, channels, classes, widths, size, columns, multipliers
            )
        )
        return describe

    return add
