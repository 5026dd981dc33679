"""Register tiles: the inner loops that convolutions and matrix products share.

A tile computes ``rows`` output rows (pixels of a convolution, rows of a matrix) by ``vectors`` vectors of output
channels. All its sums stay in registers while the reduction runs; each step of the reduction broadcasts one input
element a row and multiplies it with ``vectors`` vectors of packed weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.target import Target

__all__ = [
    "GIGAHERTZ",
    "Panels",
    "Segment",
    "TileShape",
    "accumulate",
    "candidates",
    "cycles_per_step",
    "declare",
    "input_cycles",
    "pack",
    "pack_bias",
]

GIGAHERTZ = 3.5
"""Clock that turns cycles into nanoseconds; only ratios between kernels matter."""

FMA_PER_CYCLE = 2
FMA_LATENCY = 4
LOADS_PER_CYCLE = 2
FLOAT_BYTES = 4
LINE_BYTES = 64
L1_WAYS = 12
CYCLES_PER_FILL = 5.0
CYCLES_PER_CONFLICT = 2.7


@dataclass(frozen=True)
class TileShape:
    """``rows`` x ``vectors`` accumulators."""

    rows: int
    vectors: int


def candidates(target: Target, rows: int, vectors: int) -> list[TileShape]:
    """Every tile whose accumulators, weights and one broadcast fit the registers, no larger than the problem.

    Args:
        rows, vectors: extent of the problem.
    """
    found = []
    for v in range(1, min(vectors, 8) + 1):
        most = (target.registers - 1 - v) // v
        found += [TileShape(r, v) for r in range(1, min(most, rows) + 1)]
    return found


def cycles_per_step(tile: TileShape, input_cycles: float = 0.0) -> float:
    """Cycles of one reduction step: multiply-add issue, load issue or latency, whichever binds, plus loop overhead.

    Args:
        input_cycles: load slots lost to bringing input rows into the first-level cache (see ``input_cycles``).
    """
    multiply = tile.rows * tile.vectors / FMA_PER_CYCLE
    load = (tile.rows + tile.vectors) / LOADS_PER_CYCLE + input_cycles
    return max(multiply, load, FMA_LATENCY) + 0.5


def input_cycles(target: Target, rows: int, row_stride: int, steps: int) -> float:
    """Load slots a step that input rows cost when they do not stay in the first-level cache.

    Each row brings in one line every 16 steps; rows whose distance is a multiple of the cache's way size compete for
    the same lines, and those beyond its associativity are fetched again at every step.

    Args:
        row_stride: elements from one row to the next.
        steps: reduction steps that touch neighbouring elements of a row.
    """
    if rows * steps * FLOAT_BYTES <= target.l1_bytes // 4:
        return 0.0
    sets = max(target.l1_bytes // (LINE_BYTES * L1_WAYS), 1)
    distinct = sets // math.gcd(max(row_stride * FLOAT_BYTES // LINE_BYTES, 1), sets)
    excess = max(0, rows - L1_WAYS * distinct)
    return rows * FLOAT_BYTES / LINE_BYTES * CYCLES_PER_FILL + excess * CYCLES_PER_CONFLICT


@dataclass(frozen=True)
class Panels:
    """Output channels cut into panels of ``vectors`` vectors; the last one may be smaller."""

    channels: int
    lanes: int
    vectors: int

    @property
    def count(self) -> int:
        return -(-self.channels // (self.vectors * self.lanes))

    @property
    def full(self) -> int:
        """Number of panels without a tail."""
        return self.channels // (self.vectors * self.lanes)

    @property
    def tail_vectors(self) -> int:
        """Vectors of the last panel when it is not full, else 0."""
        rest = self.channels - self.full * self.vectors * self.lanes
        return -(-rest // self.lanes)

    @property
    def tail_lanes(self) -> int | None:
        """Lanes of the very last vector, None when it is whole."""
        return self.channels % self.lanes or None

    def variants(self) -> list[tuple[int, int | None]]:
        """(vectors, lanes of the last vector or None) of the full and of the tail panel, as far as they exist."""
        full = [(self.vectors, None)] if self.full else []
        return full + ([(self.tail_vectors, self.tail_lanes)] if self.tail_vectors else [])

    def write_variants(self, w: Writer, panel: str, body: Callable[[int], None]) -> None:
        """Write ``body`` of the variant that the C index ``panel`` needs.

        Args:
            body: writes the code for a position in ``variants()``.
        """
        if len(self.variants()) == 1:
            body(0)
            return
        with w.block(f"if ({panel} < {self.full})"):
            body(0)
        with w.block("else"):
            body(1)


def pack(weights: np.ndarray, panels: Panels) -> np.ndarray:
    """Weights (channels, steps) as panels: for each panel, for each step, the panel's channels side by side.

    Full panels have ``vectors`` vectors, the tail panel only as many as it needs; missing lanes are 0.

    Returns:
        A flat array in which panel p begins at p x steps x vectors x lanes.
    """
    channels, steps = weights.shape
    width = panels.vectors * panels.lanes
    parts = []
    for start in range(0, channels, width):
        part = weights[start : start + width]
        padded = np.zeros((-(-len(part) // panels.lanes) * panels.lanes, steps), np.float32)
        padded[: len(part)] = part
        parts.append(np.ascontiguousarray(padded.T).reshape(-1))
    return np.concatenate(parts)


def pack_bias(bias: np.ndarray | None, panels: Panels) -> np.ndarray:
    """The bias padded with zeros to whole vectors."""
    padded = np.zeros(-(-panels.channels // panels.lanes) * panels.lanes, np.float32)
    if bias is not None:
        padded[: panels.channels] = bias
    return padded


@dataclass(frozen=True)
class Segment:
    """A run of reduction steps.

    Args:
        count: number of steps.
        offset: C text of the input offset of the first step, relative to the tile's first row.
        stride: input elements from one step to the next.
        rows: rows of the tile that take part (others lie in the padding).
    """

    count: int
    offset: str
    stride: int
    rows: tuple[int, ...]


def accumulate(
    w: Writer, segment: Segment, row_offset: Callable[[int], int], vectors: int, lanes: int, unroll: int = 1
) -> None:
    """Write the loop of one segment: ``c<row>_<vector> += x[...] * weights``; advances the pointer ``w``.

    Args:
        row_offset: input elements from the tile's first row to a row.
        unroll: reduction steps an iteration.
    """

    def step(k: str) -> None:
        for v in range(vectors):
            w.line(f"const es_v b{v} = es_load(w + {v * lanes});" if v else "const es_v b0 = es_load(w);")
        for r in segment.rows:
            terms = [t for t in (segment.offset, _times(k, segment.stride), str(row_offset(r))) if t != "0"]
            w.line(f"const es_v a{r} = es_set1(x[{' + '.join(terms) or '0'}]);")
            for v in range(vectors):
                w.line(f"c{r}_{v} = es_fma(a{r}, b{v}, c{r}_{v});")
        w.line(f"w += {vectors * lanes};")

    if segment.count <= 4:
        unrolled = range(segment.count)
    elif unroll == 1:
        with w.block(f"for (ptrdiff_t k = 0; k < {segment.count}; ++k)"):
            step("k")
        return
    else:
        unrolled = range(segment.count // unroll * unroll, segment.count)
        with w.block(f"for (ptrdiff_t k = 0; k < {unrolled.start}; k += {unroll})"):
            for u in range(unroll):
                with w.block(""):
                    step(f"(k + {u})" if u else "k")
    for k in unrolled:
        with w.block(""):
            step(str(k))


def _times(index: str, stride: int) -> str:
    if index == "0" or stride == 0:
        return "0"
    if index.isdigit():
        return str(int(index) * stride)
    return index if stride == 1 else f"{index} * {stride}"


def declare(w: Writer, rows: Sequence[int], vectors: int, lanes: int, bias: str = "b") -> None:
    """Write the accumulators, each starting as the bias."""
    for v in range(vectors):
        w.line(f"const es_v bias{v} = es_load({f'{bias} + {v * lanes}' if v else bias});")
    for r in rows:
        w.line("es_v " + ", ".join(f"c{r}_{v} = bias{v}" for v in range(vectors)) + ";")
