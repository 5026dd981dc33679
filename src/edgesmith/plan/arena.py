"""One arena for all intermediate buffers, planned by lifetime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "Arena", "Lifetime", "allocate"]

ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """A buffer's size and the first and last step that use it."""

    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Result of the allocation.

    Args:
        offsets: byte offset of each buffer.
        nbytes: size of the arena.
        lower_bound: the largest sum of buffers alive at one step; no allocation can be smaller.
        naive: the sum of all buffers.
    """

    offsets: Mapping[str, int]
    nbytes: int
    lower_bound: int
    naive: int


def _rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _first_fit(order: Sequence[str], buffers: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    offsets: dict[str, int] = {}
    top = 0
    for name in order:
        mine = buffers[name]
        taken = sorted(
            (offsets[o], offsets[o] + _rounded(buffers[o].nbytes)) for o in offsets if buffers[o].overlaps(mine)
        )
        at = 0
        for start, end in taken:
            if at + mine.nbytes <= start:
                break
            at = max(at, end)
        offsets[name] = at
        top = max(top, at + _rounded(mine.nbytes))
    return offsets, top


def allocate(buffers: Mapping[str, Lifetime]) -> Arena:
    """Give each buffer an offset so that buffers alive at the same step do not overlap.

    First fit in several orders (by size, by lifetime, by their product, by first use; Pisarchyk and Lee, "Efficient
    memory management for deep neural net inference", 2020), the smallest result kept.
    """
    span = {n: b.last - b.first + 1 for n, b in buffers.items()}
    orders = (
        lambda n: (-buffers[n].nbytes, buffers[n].first),
        lambda n: (-buffers[n].nbytes * span[n], buffers[n].first),
        lambda n: (-span[n], -buffers[n].nbytes),
        lambda n: (buffers[n].first, -buffers[n].nbytes),
        lambda n: (-buffers[n].last, -buffers[n].nbytes),
    )
    results = [_first_fit(sorted(buffers, key=key), buffers) for key in orders]
    offsets, nbytes = min(results, key=lambda r: r[1])
    steps = {b.first for b in buffers.values()}
    live = (sum(_rounded(b.nbytes) for b in buffers.values() if b.first <= s <= b.last) for s in steps)
    return Arena(offsets, nbytes, max(live, default=0), sum(_rounded(b.nbytes) for b in buffers.values()))
