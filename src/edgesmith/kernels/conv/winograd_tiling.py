"""How a Winograd convolution is cut into tiles, blocks of tiles and chunks of channels, and where its scratch lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from edgesmith.ir import View
from edgesmith.kernels.base import Problem, Schedule
from edgesmith.kernels.conv.winograd_numbers import FLOAT_NUMBERS, Numbers
from edgesmith.kernels.conv.winograd_transform import Transform, transform
from edgesmith.kernels.tile import FLOAT_BYTES, LINE_BYTES, Panels
from edgesmith.ops.conv import Conv
from edgesmith.ops.integer_products import ConvInteger

__all__ = ["Band", "Tiling"]

GROUP_BYTES = 128
"""Of the channels of a pixel that are transformed together: the processor fetches cache lines in pairs."""


@dataclass(frozen=True)
class Band:
    """Rows of tiles that see the same rows of their window inside the input.

    Args:
        last: number of the last row of tiles.
        first_row, stop_row: rows of the window inside the input; equal where none is.
    """

    last: int
    first_row: int
    stop_row: int


class Tiling:
    """One problem with one schedule.

    The schedule: ``height`` and ``width``, outputs of a tile; ``tiles``, tiles of a block; ``rows`` and ``vectors``,
    the register tile; ``panels``, panels of a chunk of output channels; ``depth``, input channels that one pass over
    the positions sums; ``prepared``, 1 if the weights are transformed once, 0 if each task does it.

    Args:
        form: F(m, r) with a stride, from these three.
    """

    def __init__(
        self,
        problem: Problem,
        schedule: Schedule,
        numbers: Numbers = FLOAT_NUMBERS,
        form: Callable[[int, int, int], Transform] = transform,
    ) -> None:
        node = problem.anchor
        assert isinstance(node.op, Conv | ConvInteger)
        self.problem, self.window, self.numbers = problem, node.op.window, numbers
        self.lanes = problem.target.lanes
        self.x: View = problem.view(node.inputs[0])
        self.y: View = problem.view(problem.region.outputs[0])
        self.vertical: Transform = form(schedule["height"], self.window.kernel[0], self.window.strides[0])
        self.horizontal: Transform = form(schedule["width"], self.window.kernel[1], self.window.strides[1])
        self.images, self.out_channels, height, width = self.y.shape
        self.in_channels = self.x.shape[1]
        self.in_lanes = numbers.channels(self.lanes)
        self.down, self.across = -(-height // self.vertical.m), -(-width // self.horizontal.m)
        self.tiles = self.images * self.down * self.across
        self.block = min(schedule["tiles"], self.tiles)
        self.rows = min(schedule["rows"], self.block)
        self.panels = Panels(self.out_channels, self.lanes, schedule["vectors"])
        self.chunk_panels = min(schedule["panels"], self.panels.count)
        self.depth = min(schedule["depth"], self.summed)
        self.prepared = bool(schedule["prepared"])

    @property
    def positions(self) -> int:
        """Products of a tile for each pair of channels."""
        return self.vertical.n * self.horizontal.n

    @property
    def blocks(self) -> int:
        return -(-self.tiles // self.block)

    @property
    def chunks(self) -> int:
        return -(-self.panels.count // self.chunk_panels)

    @property
    def strip(self) -> int:
        """Most neighbouring tiles whose input is transformed together: their columns take half of the first cache."""
        column_bytes = self.group * self.vertical.n * self.lanes * FLOAT_BYTES
        columns = self.problem.target.l1_bytes // 2 // column_bytes
        fit = (columns - self.horizontal.extent(0)) // self.horizontal.step
        return max(1, min(fit, self.across, self.block))

    @property
    def group(self) -> int:
        """Vectors of input channels that are transformed together."""
        return min(max(1, GROUP_BYTES // (self.lanes * FLOAT_BYTES)), self.padded_in // self.in_lanes)

    @property
    def panel_width(self) -> int:
        return self.panels.vectors * self.lanes

    @property
    def chunk_width(self) -> int:
        """Channels of a chunk; the last chunk may be narrower."""
        return min(self.chunk_panels * self.panel_width, self.padded_out)

    @property
    def last_width(self) -> int:
        """Channels of the last chunk, whole vectors."""
        return self.padded_out - (self.chunks - 1) * self.chunk_width

    @property
    def padded_in(self) -> int:
        """Input channels in whole vectors."""
        return -(-self.in_channels // self.in_lanes) * self.in_lanes

    @property
    def summed(self) -> int:
        """Input channels in whole groups of a step's products."""
        return -(-self.in_channels // self.numbers.group) * self.numbers.group

    @property
    def padded_out(self) -> int:
        return -(-self.out_channels // self.lanes) * self.lanes

    @property
    def input_plane(self) -> int:
        """Elements from one position of the transformed input to the next."""
        return _odd_lines(self.block * self.padded_in, self.numbers.element_bytes)

    @property
    def output_plane(self) -> int:
        """The same for the products."""
        return _odd_lines(self.block * self.chunk_width, self.numbers.sums.itemsize)

    def weight_plane(self, channels: int, width: int) -> int:
        """Elements from one position of the transformed weights to the next, for some input and output channels."""
        return _odd_lines(channels * width, self.numbers.element_bytes)

    def weight_elements(self, width: int) -> int:
        """Elements of the transformed weights of a chunk of ``width`` output channels, all depths."""
        return self.positions * sum(self.weight_plane(channels, width) for channels in self.depths)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights as they are."""
        return math.prod(self.window.kernel) * self.summed * self.padded_out * self.numbers.weight.itemsize

    @property
    def prepared_bytes(self) -> int:
        if not self.prepared:
            return 0
        whole, last = self.weight_elements(self.chunk_width), self.weight_elements(self.last_width)
        return ((self.chunks - 1) * whole + last) * self.numbers.element_bytes

    @property
    def input_bytes(self) -> int:
        """Bytes of a block's transformed input."""
        return self.positions * self.input_plane * self.numbers.element_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes of its products."""
        return self.positions * self.output_plane * self.numbers.sums.itemsize

    @property
    def scratch_bytes(self) -> int:
        weights = 0 if self.prepared else self.weight_plane(self.depth, self.chunk_width)
        return self.input_bytes + self.output_bytes + self.positions * weights * self.numbers.element_bytes

    @property
    def depths(self) -> list[int]:
        """Input channels of each pass over the positions: all alike but for the last."""
        whole, rest = divmod(self.summed, self.depth)
        return [self.depth] * whole + [rest] * (rest > 0)

    @cached_property
    def heights(self) -> list[int]:
        """Rows of the register tiles that occur, the largest first."""
        last = self.tiles - (self.blocks - 1) * self.block
        rests = {count % self.rows for count in (self.block, last)} - {0}
        return [self.rows, *sorted(rests, reverse=True)]

    @cached_property
    def bands(self) -> list[Band]:
        """All rows of tiles, from the top."""
        found: list[Band] = []
        for tile in range(self.down):
            top = tile * self.vertical.step - self.window.pads_begin[0]
            first = min(max(-top, 0), self.vertical.n)
            stop = max(min(self.x.shape[2] - top, self.vertical.n), first)
            band = Band(tile, first, stop)
            if found and (found[-1].first_row, found[-1].stop_row) == (first, stop):
                found.pop()
            found.append(band)
        return found


def _odd_lines(elements: int, element_bytes: int) -> int:
    """Rounded up to an odd number of cache lines, so that equal offsets in planes fall into different cache sets."""
    line = LINE_BYTES // element_bytes
    return (-(-elements // line) | 1) * line
