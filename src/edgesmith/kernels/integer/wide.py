"""Sums that 32 bits may not hold: partial sums that do, added up in two words.

A word is an i32 lane: a sum is ``high * 2**16 + low``. Weights of 16 bits are 256 times one byte plus another, and sums
of products with them are so of two sums of products with bytes. A sum becomes f32 by one addition of two exact numbers,
which rounds once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.kernels.integer.window import IntegerWindow

__all__ = ["PartialSums", "digits", "largest_input", "partial_sum", "words", "write_floats", "write_words"]

PARTIAL = 1 << 31
"""Partial sums are smaller."""
MOST_PARTS = 1 << 14
"""Partial sums of one sum, so that the lower words do not overflow."""


@dataclass(frozen=True)
class PartialSums:
    """What of a sum is added up in 32 bits.

    Args:
        shifts: for each digit of the weights, by how many bits its sums are shifted.
        loops: how many of the loops around a run of products, the innermost ones, a partial sum spans.
        elements: a partial sum spans so many products of a run; 0: the whole run.
    """

    shifts: tuple[int, ...]
    loops: int
    elements: int = 0

    @classmethod
    def of(cls, weights: np.ndarray, largest: int, group: int) -> PartialSums | None:
        """The longest ones for any inputs up to ``largest``; None where there are too many.

        Args:
            weights: (digits, channels, loop, ..., run); loops of one round do not count.
            group: products that are added at once.
        """
        sizes = np.abs(weights.astype(np.int64))
        shifts = tuple(8 * i for i in range(len(weights)))
        looped = [n for n in weights.shape[2:-1] if n > 1]
        axes = [a for a, n in enumerate(weights.shape[2:-1], 2) if n > 1]
        for loops in range(len(looped), -1, -1):
            spanned = (*axes[len(axes) - loops :], sizes.ndim - 1)
            parts = len(shifts) * int(np.prod(looped[: len(looped) - loops], dtype=np.int64))
            if int(sizes.sum(axis=spanned).max()) * largest < PARTIAL:
                return cls(shifts, loops) if parts <= MOST_PARTS else None
        run = weights.shape[-1]
        padded = np.zeros((*sizes.shape[:-1], -(-run // group) * group), np.int64)
        padded[..., :run] = sizes
        totals = np.concatenate([np.zeros((*sizes.shape[:-1], 1), np.int64), padded.cumsum(-1)], -1)[..., ::group]
        count = totals.shape[-1] - 1
        for pieces in range(2, count + 1):
            groups = -(-count // pieces)
            ends = np.minimum(np.arange(0, count + groups, groups), count)
            if int(np.diff(totals[..., ends], axis=-1).max()) * largest < PARTIAL:
                return cls(shifts, 0, groups * group) if parts * pieces <= MOST_PARTS else None
        return None


def digits(weights: np.ndarray) -> list[np.ndarray]:
    """Weights as numbers from -128 to 127, each worth 256 times the one before it; the last may be larger."""
    if not weights.size or (weights.min() >= -128 and weights.max() <= 127):
        return [weights]
    low = ((weights.astype(np.int32) + 128) & 255) - 128
    return [low.astype(np.int16), ((weights - low) >> 8).astype(np.int16)]


def largest_input(window: IntegerWindow, shift: int) -> int:
    """The largest size of an input as it is multiplied."""
    return max(abs(limit + shift) for limit in window.input_type.limits)


def words(sums: np.ndarray) -> np.ndarray:
    """The upper words of sums, then the lower ones, which are from 0 to 2**16 - 1."""
    return np.concatenate([sums >> 16, sums & 0xFFFF]).astype(np.int32)


def _names(rows: int, vectors: int) -> list[str]:
    return [f"{r}_{v}" for r in range(rows) for v in range(vectors)]


def write_words(w: Writer, rows: int, starts: Sequence[tuple[str, str]]) -> None:
    """Declare the words ``h<row>_<vector>`` and ``l<row>_<vector>``.

    Args:
        starts: for each vector, C text of what the two words begin with.
    """
    for v, (high, low) in enumerate(starts):
        w.line(f"const es_m high{v} = {high}, low{v} = {low};")
    for r in range(rows):
        made = (f"h{r}_{v} = high{v}, l{r}_{v} = low{v}" for v in range(len(starts)))
        w.line("es_m " + ", ".join(made) + ";")


@contextmanager
def partial_sum(w: Writer, rows: int, vectors: int, shift: int) -> Iterator[None]:
    """A block in which ``c<row>_<vector>`` begin with 0; at its end they are added to the words."""
    with w.block(""):
        for r in range(rows):
            w.line("es_m " + ", ".join(f"c{r}_{v} = es_set1_i32(0)" for v in range(vectors)) + ";")
        yield
        for name in _names(rows, vectors):
            low = f"c{name} & {(1 << (16 - shift)) - 1}"
            w.line(f"h{name} += c{name} >> {16 - shift};")
            w.line(f"l{name} += ({low}) << {shift};" if shift else f"l{name} += {low};")


def write_floats(w: Writer, rows: int, vectors: int) -> None:
    """Declare ``c<row>_<vector>``: the sums as f32, rounded once: two exact numbers are added."""
    for name in _names(rows, vectors):
        w.line(f"h{name} += l{name} >> 16;")
        upper, lower = f"es_from_i32(h{name} >> 8)", f"es_from_i32((h{name} & 255) << 16 | (l{name} & 65535))"
        w.line(f"const es_v c{name} = {upper} * es_set1(16777216.0f) + {lower};")
