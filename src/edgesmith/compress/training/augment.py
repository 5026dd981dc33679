"""Random changes to batches of pictures: functions of pixels (N, C, H, W) on any device, and of a CPU generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["Augmentation", "Erase", "Flip", "Shift"]

Augmentation = Callable[[Tensor, Generator], Tensor]
"""Takes pixels (N, C, H, W) and gives others of the same shape; draws from the generator alone, so that it repeats."""


@dataclass(frozen=True)
class Shift:
    """Moves each picture by up to ``pixels`` in each direction (padding and cropping)."""

    pixels: int = 4
    fill: float = 0

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        count, _, height, width = batch.shape
        reach = 2 * self.pixels + 1
        down, right = torch.randint(reach, (2, count), generator=generator)
        padded = functional.pad(batch, (self.pixels,) * 4, value=self.fill)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(count), :, down, right]


@dataclass(frozen=True)
class Flip:
    """Mirrors left and right."""

    probability: float = 0.5

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        chosen = (torch.rand(len(batch), generator=generator) < self.probability).to(batch.device)
        return torch.where(chosen.view(-1, 1, 1, 1), batch.flip(3), batch)


@dataclass(frozen=True)
class Erase:
    """Fills a rectangle of each picture: random erasing (arXiv:1708.04896); Cutout (1708.04552) with aspect 1.

    Args:
        probability: of each picture.
        area: least and greatest share of the picture.
        aspect: greatest ratio of the longer to the shorter side.
        fill: the pixels' new value.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.25)
    aspect: float = 3.0
    fill: float = 0

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        count, _, height, width = batch.shape
        chance, share, shape, top, left = torch.rand((5, count, 1), generator=generator)
        area = (self.area[0] + share * (self.area[1] - self.area[0])) * height * width
        ratio = torch.exp((2 * shape - 1) * math.log(self.aspect))
        tall = (area * ratio).sqrt().round().clamp(1, height)
        wide = (area / ratio).sqrt().round().clamp(1, width)
        y0, x0 = (top * (height - tall + 1)).floor(), (left * (width - wide + 1)).floor()
        rows, columns = torch.arange(height), torch.arange(width)
        inside_rows = (rows >= y0) & (rows < y0 + tall) & (chance < self.probability)
        inside = inside_rows[:, None, :, None] & ((columns >= x0) & (columns < x0 + wide))[:, None, None, :]
        return batch.masked_fill(inside.to(batch.device), self.fill)
