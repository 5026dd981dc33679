"""The weights of a program: one blob in which every array is stored once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

__all__ = ["Weights", "WeightsShare", "aligned"]

ALIGNMENT = 64


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up so that the next array is aligned too."""
    return -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT


class Weights:
    """Collects arrays at aligned offsets; equal arrays share one place."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._chunks: list[np.ndarray] = []
        self.nbytes = 0

    def add(self, array: np.ndarray) -> int:
        """Byte offset of ``array``'s elements, in C order."""
        dense = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = hashlib.sha256(dense.data).digest() + str(array.dtype).encode()
        if key not in self._offsets:
            self._offsets[key] = self.nbytes
            self._chunks.append(dense)
            self.nbytes += aligned(dense.nbytes)
        return self._offsets[key]

    @property
    def digest(self) -> bytes:
        """Of all arrays in their order; equal ones have equal offsets."""
        return hashlib.sha256(b"".join(self._offsets)).digest()

    def write(self, path: Path) -> None:
        """Write all arrays at their offsets, zeros between; arrays go to the file one by one."""
        with path.open("wb") as file:
            for chunk in self._chunks:
                file.write(chunk.data)
                file.write(bytes(aligned(chunk.nbytes) - chunk.nbytes))
            if not self._chunks:
                file.write(bytes(ALIGNMENT))


class WeightsShare(Weights):
    """What one of several models puts into the weights that they have in common.

    Args:
        whole: the weights of all.
    """

    def __init__(self, whole: Weights) -> None:
        super().__init__()
        self._whole = whole

    def add(self, array: np.ndarray) -> int:
        """As of ``Weights``; ``nbytes`` counts what this model uses, whether others use it too or not."""
        super().add(array)
        return self._whole.add(array)
