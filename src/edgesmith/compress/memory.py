"""Where tensors lie in memory, and whether they share it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Memory", "memory_of"]


class Memory(NamedTuple):
    """The elements of a tensor.

    Attributes:
        storage: number of the storage among those that live at the same time.
        offset, strides: in elements.
    """

    storage: int
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def overlaps(self, other: Memory) -> bool:
        """Whether an element of one is also one of the other's."""
        if self.storage != other.storage or 0 in (*self.sizes, *other.sizes):
            return False
        if self.dtype.itemsize != other.dtype.itemsize:
            return True
        end = max(self._end, other._end)
        mine, others = (m._marked(end) for m in (self, other))
        return bool((mine & others).any())

    @property
    def _end(self) -> int:
        return self.offset + sum((n - 1) * s for n, s in zip(self.sizes, self.strides, strict=True)) + 1

    def _marked(self, elements: int) -> Tensor:
        places = torch.zeros(elements, dtype=torch.bool, device="cpu")
        places.as_strided(self.sizes, self.strides, self.offset).fill_(True)
        return places


def memory_of(tensor: Tensor) -> Memory | None:
    """None where it has no storage of its elements in strides, as sparse tensors."""
    if tensor.layout is not torch.strided:
        return None
    storage = tensor.untyped_storage().data_ptr() or id(tensor)
    return Memory(storage, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), tensor.dtype)
