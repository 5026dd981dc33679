"""The weights of a program: one blob in which every array is stored once."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["Weights"]

ALIGNMENT = 64


class Weights:
    """Collects arrays at aligned offsets; equal arrays share one place."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._chunks: list[np.ndarray] = []
        self.nbytes = 0

    def add(self, array: np.ndarray) -> int:
        """Byte offset of ``array``'s elements, in C order."""
        dense = np.ascontiguousarray(array)
        key = hashlib.sha256(dense.data if dense.size else b"").digest() + str(dense.dtype).encode()
        if key not in self._offsets:
            self._offsets[key] = self.nbytes
            self._chunks.append(dense)
            self.nbytes += -(-max(dense.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        return self._offsets[key]

    def blob(self) -> bytes:
        """All arrays at their offsets, zeros between."""
        result = bytearray(max(self.nbytes, ALIGNMENT))
        at = 0
        for chunk in self._chunks:
            result[at : at + chunk.nbytes] = chunk.tobytes()
            at += -(-max(chunk.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        return bytes(result)
