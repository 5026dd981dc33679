"""The data of the experiments as tensors: Fashion-MNIST (28x28 grey) and sign-language digits (colour)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from edgesmith.compress.training import Pictures as Labelled
from edgesmith.compress.training import read_folder, read_idx

SHIFT = 2
"""Most pixels by which a training picture is moved, along each axis."""


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures: uint8 of shape (N, C, H, W), int64 of shape (N,); mean and deviation of the training set."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    deviation: Tensor
    flips: bool

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (1, *self.images.shape[1:])

    def to(self, device: torch.device) -> Pictures:
        """On another device."""
        moved = (t.to(device) for t in (self.images, self.labels, self.mean, self.deviation))
        return Pictures(*moved, self.flips)

    def inputs(self, chosen: Tensor | slice) -> Tensor:
        """Normalised pictures, channels last in memory."""
        values = (self.images[chosen].float() - self.mean) / self.deviation
        return values.contiguous(memory_format=torch.channels_last)

    def batches(self, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order given by ``seed``, moved and flipped at random, without an incomplete last batch."""
        generator = torch.Generator().manual_seed(seed)
        device = self.images.device
        order = torch.randperm(len(self), generator=generator).to(device)
        height, width = self.images.shape[2:]
        for begin in range(0, len(self) - size + 1, size):
            chosen = order[begin : begin + size]
            x = F.pad(self.inputs(chosen), (SHIFT,) * 4)
            top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
            x = x[:, :, top : top + height, left : left + width]
            if self.flips:
                flipped = (torch.rand(size, generator=generator) < 0.5).to(device)
                x = torch.where(flipped[:, None, None, None], x.flip(3), x)
            yield x.contiguous(memory_format=torch.channels_last), self.labels[chosen]


def _pair(train: Labelled, test: Labelled) -> tuple[Pictures, Pictures]:
    values = train.pixels.float()
    mean = values.mean((0, 2, 3), keepdim=True)[0]
    deviation = values.std((0, 2, 3), keepdim=True)[0]
    train_set, test_set = (Pictures(p.pixels, p.labels, mean, deviation, flips=True) for p in (train, test))
    return train_set, test_set


def fashion_mnist(folder: Path) -> tuple[Pictures, Pictures]:
    """60,000 pictures for training and 10,000 for testing of ten kinds of clothes."""
    train, test = (
        read_idx(folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz")
        for part in ("train", "t10k")
    )
    return _pair(train, test)


def sign_language_digits(folder: Path, size: int = 32) -> tuple[Pictures, Pictures]:
    """1,649 pictures for training and 413 for testing of hands that show a digit, scaled to ``size`` pixels."""
    train, test = (
        read_folder(folder, (size, size), split=folder / "split.csv", part=part) for part in ("train", "test")
    )
    return _pair(train, test)


DATA = {"fashion_mnist": fashion_mnist, "sign_language_digits": sign_language_digits}
