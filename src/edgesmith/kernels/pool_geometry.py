"""What a pool computes in two spatial axes, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgesmith.kernels.base import Problem, Schedule
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES, far_cycles, l1_ways
from edgesmith.kernels.tile import Panels
from edgesmith.ops.pool import Pool

__all__ = ["BUFFERED", "CARRIED", "DIRECT", "UNROLLED_TAPS", "PoolGeometry"]

DIRECT, BUFFERED, CARRIED = 0, 1, 2
"""Forms of the loops, see ``VectorPool``."""
UNROLLED_TAPS = 25
CONFLICTS = 3.0
"""How much longer a column's rows take to load when the first-level cache cannot keep them."""


class PoolGeometry:
    """Extents of a problem as two-dimensional: a 1-D pool has one row."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        op = problem.anchor.op
        assert isinstance(op, Pool)
        self.problem, self.op = problem, op
        x, y = problem.view(problem.region.source), problem.view(problem.region.outputs[0])
        self.rank, self.element = x.rank, x.dtype
        window = op.window

        def pair(values: Sequence[int], unit: int) -> tuple[int, int]:
            return (unit, values[0]) if len(values) == 1 else (values[0], values[1])

        self.kernel, self.strides = pair(window.kernel, 1), pair(window.strides, 1)
        self.dilations, self.pads = pair(window.dilations, 1), pair(window.pads_begin, 0)
        self.pads_end = pair(window.pads_end, 0)
        self.input, self.output = pair(x.shape[2:], 1), pair(y.shape[2:], 1)
        self.steps = pair(x.strides[2:], 0)
        self.batch, self.channels, self.image = x.shape[0], x.shape[1], x.strides[0]
        self.form = schedule["separable"]
        self.panels = Panels(self.channels, problem.target.lanes, schedule["vectors"])

    def first(self, axis: int) -> int:
        """Input position of the first tap of output 0."""
        return -self.pads[axis]

    def has_edge(self, axis: int) -> bool:
        """Whether some window reaches outside the input along an axis."""
        last = (self.output[axis] - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis]
        return self.pads[axis] > 0 or last - self.pads[axis] >= self.input[axis]

    @property
    def columns(self) -> tuple[int, int]:
        """Columns of pad before and after the row of column results that the separable form keeps."""
        last = (self.output[1] - 1) * self.strides[1] + (self.kernel[1] - 1) * self.dilations[1]
        return self.pads[1], max(0, last - self.pads[1] - self.input[1] + 1)

    @property
    def scratch_floats(self) -> int:
        width = self.panels.vectors * self.panels.lanes
        return (sum(self.columns) + self.input[1]) * width if self.form == BUFFERED else 0

    def cycles(self) -> float:
        """Taps and memory beyond the second-level cache, which hide little of each other; fitted to measurements."""
        rows, columns = self.output
        kh, kw = self.kernel
        per_vector = self.panels.vectors
        tap = 0.6 if self.panels.lanes == 16 else 0.45
        looped = tap + 1.6 / per_vector
        vectors = -(-self.channels // self.panels.lanes) * self.batch
        inside = [
            (n - 2) / n if self.has_edge(a) and n > 2 else float(not self.has_edge(a))
            for a, n in enumerate((rows, columns))
        ]
        if self.form == CARRIED:
            row_tap = looped if self.has_edge(0) else tap
            again = 1.0 if self._rows_stay() else CONFLICTS
            taps = rows * columns * (self.strides[1] * kh * row_tap * again + tap * kw + 1.0)
            loops = rows * columns * 3.0
        elif self.form == BUFFERED:
            row_tap = looped if self.has_edge(0) else tap
            taps = rows * (self.input[1] * (row_tap * kh + 1.5) + columns * (tap * kw + 1.5))
            loops = rows * (self.input[1] + columns) * 3.0
        else:
            unrolled = inside[0] * inside[1] if kh * kw <= UNROLLED_TAPS else 0.0
            taps = rows * columns * (kh * kw * (unrolled * tap + (1 - unrolled) * looped) + 1.0)
            loops = rows * columns * 6.0
        moved = 4 * self.channels * self.batch * (self.input[0] * self.input[1] + rows * columns)
        return taps * vectors + loops * vectors / per_vector + far_cycles(moved, self.problem.target)

    def _rows_stay(self) -> bool:
        """Whether the rows of a window, a few channels of each column, stay in the first-level cache."""
        target, floats = self.problem.target, LINE_BYTES // FLOAT_BYTES
        sets = max(target.l1_bytes // (LINE_BYTES * l1_ways(target)), 1)
        wide = max(self.panels.vectors * self.panels.lanes // floats, 1)
        distinct = min(sets // math.gcd(max(self.steps[1] // floats, 1), sets) * wide, sets)
        return self.kernel[0] * self.input[1] * wide <= l1_ways(target) * distinct
