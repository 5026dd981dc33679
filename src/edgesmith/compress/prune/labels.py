"""Labels of channels: integers that travel with values through a network, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["FIXED", "Ints", "Labels", "compress"]

FIXED = 0
"""The label of what is never removed."""

Ints = npt.NDArray[np.int64]


def compress(labels: torch.Tensor) -> torch.Tensor:
    """``labels`` with size 1 along every axis along which they do not vary."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            first = labels.narrow(axis, 0, 1)
            if labels.stride(axis) == 0 or bool((labels == first).all()):
                labels = first
    return labels


class Labels:
    """Mints labels and keeps their equivalence classes: labels of one class are removed together.

    A value's labels are an int64 tensor of the value's shape, with stride 0 wherever they are constant.
    """

    def __init__(self) -> None:
        self._parent: Ints = np.zeros(1, dtype=np.int64)
        self._pending: list[tuple[Ints, Ints]] = []
        self._fixed: list[tuple[Ints, str]] = []

    def mint(self, count: int) -> torch.Tensor:
        """``count`` new labels."""
        start = len(self._parent)
        self._parent = np.concatenate([self._parent, np.arange(start, start + count, dtype=np.int64)])
        return torch.arange(start, start + count)

    def unify(self, a: torch.Tensor, b: torch.Tensor, why: str) -> None:
        """Elements at the same place go together; what meets ``FIXED`` is fixed.

        Args:
            a: labels; ``b`` has its shape.
            why: the reason for fixing.
        """
        count = len(self._parent)
        pairs = torch.unique(a.reshape(-1) * count + b.reshape(-1)).numpy()
        left, right = pairs // count, pairs % count
        left, right = left[left != right], right[left != right]
        free = (left != FIXED) & (right != FIXED)
        if free.any():
            self._pending.append((left[free], right[free]))
        met = np.maximum(left, right)[~free]
        if len(met):
            self._fixed.append((met, why))

    def fix(self, labels: torch.Tensor, why: str) -> None:
        """Labels that must stay, and the reason."""
        values = torch.unique(compress(labels)).numpy()
        values = values[values != FIXED]
        if len(values):
            self._fixed.append((values, why))

    def roots(self) -> Ints:
        """The representative of every label's class."""
        parent = self._parent
        for left, right in self._pending:
            while True:
                a, b = parent[left], parent[right]
                low, high = np.minimum(a, b), np.maximum(a, b)
                if np.array_equal(low, high):
                    break
                np.minimum.at(parent, high, low)
                while not np.array_equal(parent, grand := parent[parent]):
                    parent = grand
        self._parent, self._pending = parent, []
        return parent

    def canonical(self, labels: torch.Tensor) -> torch.Tensor:
        """``labels`` by their representatives, with stride 0 where they are constant."""
        small = compress(labels)
        roots = torch.from_numpy(self.roots())[small.reshape(-1)].reshape(small.shape)
        return compress(roots).expand(labels.shape)

    def varying(self, labels: torch.Tensor) -> list[int]:
        """Axes along which canonical labels are not constant."""
        return [axis for axis in range(labels.ndim) if labels.shape[axis] > 1 and labels.stride(axis) != 0]

    def reasons(self) -> dict[int, str]:
        """Representatives of fixed classes, with the first reason of each."""
        roots = self.roots()
        found: dict[int, str] = {}
        for labels, why in self._fixed:
            for root in np.unique(roots[labels]).tolist():
                found.setdefault(root, why)
        return found

    def is_fixed(self, labels: torch.Tensor) -> bool:
        """Whether all labels are fixed so far."""
        reasons = self.reasons()
        return all(label == FIXED or label in reasons for label in self._distinct(labels))

    def _distinct(self, labels: torch.Tensor) -> Iterator[int]:
        yield from torch.unique(compress(self.canonical(labels))).tolist()
