"""Labelled pictures in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.errors import BadInput

__all__ = ["Normalisation", "Pictures"]

_CHUNK = 2048


@dataclass(frozen=True)
class Normalisation:
    """``(pixel * scale - mean) / std`` by channel, as in ``edgesmith.preprocess.Preprocess``.

    Args:
        mean, std: one value for each channel, of scaled pixels.
        scale: factor on pixels.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) as float32, channels last in memory."""
        mean, std = (torch.tensor(v, device=pixels.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        values = pixels.to(torch.float32, memory_format=torch.channels_last)
        values = values.clone() if values is pixels else values
        return values.mul_(self.scale / std).sub_(mean / std)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and the class of each.

    Args:
        pixels: (N, C, H, W), uint8, or float32 for what is no picture, such as spectrograms.
        labels: (N,), whole numbers from 0.
        classes: names by number; numbers where none are given.
        where: what messages call the set.

    Raises:
        BadInput: shapes, counts or types do not fit, or a label has no class.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    where: str = "pictures"

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        if pixels.ndim != 4 or pixels.dtype not in (torch.uint8, torch.float32):
            raise BadInput(
                f"pixels are {pixels.dtype} of shape {tuple(pixels.shape)}", where=self.where, hint="uint8 (N, C, H, W)"
            )
        if labels.ndim != 1 or labels.dtype.is_floating_point or labels.dtype == torch.bool:
            raise BadInput(f"labels are {labels.dtype} of shape {tuple(labels.shape)}", where=self.where)
        if len(pixels) != len(labels):
            raise BadInput(f"{len(pixels)} pictures and {len(labels)} labels", where=self.where)
        if not len(labels) or not pixels[0].numel():
            raise BadInput("no pictures", where=self.where)
        least, greatest = int(labels.min()), int(labels.max())
        classes = self.classes or tuple(str(i) for i in range(min(greatest, 1 << 20) + 1))
        if least < 0 or greatest >= len(classes):
            wrong = least if least < 0 else greatest
            raise BadInput(f"label {wrong} is none of 0 to {len(classes) - 1}", where=self.where)
        object.__setattr__(self, "labels", labels.to(torch.int64))
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def subset(self, indices: Tensor | Sequence[int] | slice) -> Pictures:
        """The pictures of these numbers, in this order."""
        chosen = indices if isinstance(indices, slice) else torch.as_tensor(indices, dtype=torch.int64)
        return replace(self, pixels=self.pixels[chosen], labels=self.labels[chosen])

    def split(self, fraction: float, seed: int = 0) -> tuple[Pictures, Pictures]:
        """A random ``fraction`` of every class, and the rest; such as for validation.

        Raises:
            BadInput: one of the parts would be empty.
        """
        generator = np.random.default_rng(seed)
        first = np.zeros(len(self), bool)
        labels = self.labels.numpy()
        for label in np.unique(labels):
            members = generator.permutation(np.flatnonzero(labels == label))
            first[members[: round(fraction * len(members))]] = True
        if first.all() or not first.any():
            raise BadInput(f"a fraction of {fraction} of {len(self)} pictures leaves a part empty", where=self.where)
        return self.subset(torch.from_numpy(np.flatnonzero(first))), self.subset(
            torch.from_numpy(np.flatnonzero(~first))
        )

    def resized(self, height: int, width: int) -> Pictures:
        """Scaled to a size, bilinear with antialiasing."""
        if self.size[1:] == (height, width):
            return self
        parts = [
            functional.interpolate(part, (height, width), mode="bilinear", antialias=True)
            for part in torch.split(self.pixels, _CHUNK)
        ]
        return replace(self, pixels=torch.cat(parts))

    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of each channel over all pictures (of a training set, to be used everywhere)."""
        scale = 1 / 255 if self.pixels.dtype == torch.uint8 else 1.0
        total, squares = torch.zeros(2, self.pixels.shape[1], dtype=torch.float64)
        for part in torch.split(self.pixels, _CHUNK):
            values = part.to(torch.float64)
            total += values.sum((0, 2, 3))
            squares += values.square().sum((0, 2, 3))
        count = self.pixels.numel() / self.pixels.shape[1]
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        deviation[deviation == 0] = 1 / scale
        return Normalisation(tuple((mean * scale).tolist()), tuple((deviation * scale).tolist()), scale)
