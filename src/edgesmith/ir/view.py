"""Strided views: how the elements of a value lie in a buffer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgesmith.ir.types import DType, TensorType

__all__ = ["View", "dense_strides"]


def dense_strides(shape: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Element strides of a gapless tensor with its axes in ``order``, outermost first (default: C order)."""
    order = range(len(shape)) if order is None else order
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


@dataclass(frozen=True, slots=True)
class View:
    """A value's place in a buffer: element ``i`` lies at ``offset + sum(i[a] * strides[a])``, counted in elements.

    Layouts (NCHW, NHWC), slices, channel ranges of a concatenation and transposes are all views; a stride may be 0
    (broadcast) or negative (reversed slice).
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    offset: int = 0

    @classmethod
    def dense(cls, type: TensorType, order: Sequence[int] | None = None) -> View:
        return cls(type.shape, dense_strides(type.shape, order), type.dtype)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def type(self) -> TensorType:
        return TensorType(self.shape, self.dtype)

    @property
    def span(self) -> int:
        """Number of elements from the first to the last one that the view touches (0 when it is empty)."""
        if self.size == 0:
            return 0
        return 1 + sum((n - 1) * abs(s) for n, s in zip(self.shape, self.strides, strict=True))

    @property
    def at_origin(self) -> View:
        """The same view with offset 0, as a kernel sees it (the pointer it gets already includes the offset)."""
        return replace(self, offset=0)

    def order(self) -> tuple[int, ...]:
        """Axes from the outermost (largest stride) to the innermost; axes of length 1 keep their place."""
        moving = [a for a in range(self.rank) if self.shape[a] != 1]
        sorted_moving = iter(sorted(moving, key=lambda a: (-abs(self.strides[a]), a)))
        return tuple(next(sorted_moving) if self.shape[a] != 1 else a for a in range(self.rank))

    def same_place(self, other: View) -> bool:
        """True when both touch the same elements in the same logical order."""
        return (
            self.shape == other.shape
            and self.offset == other.offset
            and all(n == 1 or s == t for n, s, t in zip(self.shape, self.strides, other.strides, strict=True))
        )

    def is_dense(self, order: Sequence[int] | None = None) -> bool:
        """True when the elements follow one another without gaps, with the axes in ``order`` (default: C order)."""
        return self.at_origin.same_place(View.dense(self.type, order))

    def transpose(self, permutation: Sequence[int]) -> View:
        return replace(
            self,
            shape=tuple(self.shape[a] for a in permutation),
            strides=tuple(self.strides[a] for a in permutation),
        )

    def slice(self, starts: Sequence[int], lengths: Sequence[int], steps: Sequence[int] | None = None) -> View:
        """The sub-view of ``lengths`` elements per axis from ``starts``, every ``steps``-th one (may be negative)."""
        steps = [1] * self.rank if steps is None else steps
        return replace(
            self,
            shape=tuple(lengths),
            strides=tuple(s * k for s, k in zip(self.strides, steps, strict=True)),
            offset=self.offset + sum(b * s for b, s in zip(starts, self.strides, strict=True)),
        )

    def broadcast(self, shape: Sequence[int]) -> View:
        """This view repeated to ``shape`` by numpy's broadcasting rules (stride 0 along repeated axes)."""
        lead = len(shape) - self.rank
        own = (1,) * lead + self.shape
        strides = (0,) * lead + self.strides
        return replace(
            self,
            shape=tuple(shape),
            strides=tuple(0 if n == 1 and m != 1 else s for n, m, s in zip(own, shape, strides, strict=True)),
        )

    def reshape(self, shape: Sequence[int]) -> View | None:
        """The same elements in the same logical order under another shape, or None when that needs a copy."""
        if self.size == 0:
            return View.dense(TensorType(tuple(shape), self.dtype))
        old = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        strides = [1] * len(shape)
        new = [a for a, n in enumerate(shape) if n != 1]
        i = j = 0
        while i < len(old) and j < len(new):
            first_i, first_j = i, j
            size_old, size_new = old[i][0], shape[new[j]]
            while size_old != size_new:
                if size_old < size_new:
                    i += 1
                    size_old *= old[i][0]
                else:
                    j += 1
                    size_new *= shape[new[j]]
            if any(old[k][1] != old[k + 1][1] * old[k + 1][0] for k in range(first_i, i)):
                return None
            step = old[i][1]
            for k in range(j, first_j - 1, -1):
                strides[new[k]] = step
                step *= shape[new[k]]
            i, j = i + 1, j + 1
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def __str__(self) -> str:
        return f"{self.type} strides {'x'.join(map(str, self.strides))}" + (f" +{self.offset}" if self.offset else "")
