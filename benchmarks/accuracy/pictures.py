"""How stored pictures become a network's inputs, and how training varies them. Numpy alone: training runs it too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picture:
    """Turns stored u8 pictures (N, C, H, W) into f32 inputs (N, ``channels``, ``size``, ``size``).

    Args:
        size: height and width in pixels; what the enlarged picture leaves is black, half on either side.
        channels: of the input; a grey picture is repeated.
        enlarge: every stored pixel becomes so many in each direction.
        mean, deviation: of the training set's pixels, from 0 to 1; black is zero before they are applied.
    """

    size: int
    channels: int
    enlarge: int
    mean: float
    deviation: float

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        x = stored.repeat(self.enlarge, axis=2).repeat(self.enlarge, axis=3)
        rows, columns = (self.size - extent for extent in x.shape[2:])
        around = ((0, 0), (0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
        x = np.pad(x, around).astype(np.float32)
        x = (x / np.float32(255) - np.float32(self.mean)) / np.float32(self.deviation)
        return x.repeat(self.channels // x.shape[1], axis=1)


def varied(stored: np.ndarray, rng: np.random.Generator, reach: int) -> np.ndarray:
    """Each picture moved by at most ``reach`` pixels, black where nothing moved in, and half of them mirrored."""
    count, _, height, width = stored.shape
    wide = np.pad(stored, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    tops, lefts = rng.integers(0, 2 * reach + 1, (2, count))
    rows = tops[:, None] + np.arange(height)
    columns = lefts[:, None] + np.arange(width)
    mirrored = rng.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    moved = wide[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.transpose(0, 3, 1, 2)
