"""Batches in an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from edgesmith.compress.training.augment import Augmentation
from edgesmith.compress.training.data import Normalisation, Pictures
from edgesmith.errors import BadInput

__all__ = ["Batch", "Batches", "Data"]


class Batch(NamedTuple):
    """Inputs (N, ...), labels (N,), and the numbers (N,) of these examples in the data set."""

    inputs: Tensor
    labels: Tensor
    indices: Tensor


@runtime_checkable
class Data(Protocol):
    """What ``fit`` trains on: batches that can be repeated from any place of any epoch."""

    def count(self, world: int = 1) -> int:
        """Batches of an epoch for each of ``world`` processes."""
        ...

    def batches(self, epoch: int, first: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The batches of an epoch from number ``first`` on, for one of several processes."""
        ...


@dataclass(frozen=True)
class Batches:
    """Normalised batches of pictures; iterating gives those of the first epoch.

    Every choice (order, augmentation) follows from ``seed``, epoch and the batch's number, so that a resumed run sees
    what an uninterrupted one sees. Several processes share each batch of ``size * world`` pictures.

    Args:
        pictures: the set.
        size: pictures in a batch of one process.
        normalisation: None: from these pictures.
        augment: changes to raw pixels, in this order.
        shuffle: a new order each epoch; the rest that fills no batch is left out.
        seed: of order and augmentation.
    """

    pictures: Pictures
    size: int = 128
    normalisation: Normalisation | None = None
    augment: tuple[Augmentation, ...] = ()
    shuffle: bool = True
    seed: int = 0
    _normalise: Normalisation = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise BadInput(f"{self.size} pictures make no batch", where=self.pictures.where)
        object.__setattr__(self, "_normalise", self.normalisation or self.pictures.normalisation())

    def evaluation(self, pictures: Pictures | None = None, size: int = 500) -> Batches:
        """Other pictures (or these) in their order, normalised as these are, without augmentation."""
        return replace(
            self,
            pictures=pictures or self.pictures,
            size=size,
            normalisation=self._normalise,
            augment=(),
            shuffle=False,
        )

    def count(self, world: int = 1) -> int:
        together = self.size * world
        whole = len(self.pictures) // together
        return whole if self.shuffle and whole else -(-len(self.pictures) // together)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0)

    def batches(self, epoch: int, first: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        pictures = self.pictures
        if len(pictures) < world:
            raise BadInput(f"{len(pictures)} pictures are too few for {world} processes", where=pictures.where)
        order = torch.arange(len(pictures))
        if self.shuffle:
            order = torch.randperm(len(pictures), generator=_generator(self.seed, epoch))
        together = self.size * world
        for number in range(first, self.count(world)):
            indices = order[number * together + rank : (number + 1) * together : world]
            pixels = pictures.pixels.index_select(0, indices.to(pictures.pixels.device))
            if self.augment:
                generator = _generator(self.seed, epoch, number, rank)
                for change in self.augment:
                    pixels = change(pixels, generator)
            yield Batch(self._normalise(pixels), pictures.labels[indices], indices)


def _generator(*numbers: int) -> torch.Generator:
    """Independent streams for different numbers."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
