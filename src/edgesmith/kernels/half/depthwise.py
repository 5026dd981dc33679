"""Depthwise convolution of fp16 in two-dimensional register tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node, View
from edgesmith.kernels.base import Problem, Reject, Schedule, kernel
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.conv.row import Columns
from edgesmith.kernels.conv.window_sums import WindowSums
from edgesmith.kernels.conv.window_tile import WindowTileKernel, WindowTiling
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.half.chunks import LONGEST, rounding_of_chunks
from edgesmith.kernels.half.epilogue import HalfEpilogue
from edgesmith.kernels.half.window import halves_reject
from edgesmith.kernels.lanes import store
from edgesmith.kernels.region import Region, widening_chains
from edgesmith.ops import Array
from edgesmith.ops.conv import Conv

__all__ = ["HalfDepthwise"]


class _Sums(WindowSums):
    """A tile of sums in fp16, whose halves become f32 for what follows."""

    element: ClassVar[DType] = DType.F16

    def _sums(self, w: Writer, load: Callable[[int, int], str], tail: int | None) -> None:
        w.line("const es_m start = es_pairs_i16((const int16_t *)b);")
        for line in range(self.rows.rows):
            w.line("es_m " + ", ".join(f"h{line}_{column} = start" for column in range(self.cols.rows)) + ";")
        for tap in sorted({tap for feeds in self.inputs.values() for _, _, tap in feeds}):
            w.line(f"const es_m w{tap} = es_pairs_i16((const int16_t *)w + {tap * self.lanes});")
        for (i, j), feeds in self.inputs.items():
            pixel = f"x{i}_{j}"
            w.line(f"const es_m {pixel} = es_pairs_i16((const int16_t *)({load(i, j)}));")
            for line, column, tap in feeds:
                w.line(f"h{line}_{column} = es_mla_f16(h{line}_{column}, {pixel}, w{tap});")

    def _store(self, w: Writer, y: View, epilogue: Epilogue, tail: int | None) -> None:
        in_halves = HalfEpilogue(epilogue, exact=True)
        for line in range(self.rows.rows):
            for column in range(self.cols.rows):
                if in_halves.possible:

                    def place(array: Array, line: int = line, column: int = column) -> str:
                        shift = line * array.view.strides[2] + column * array.view.strides[3]
                        return f"{array.pointer} + {shift}" if shift else array.pointer

                    in_halves.store(w, f"h{line}_{column}", place, Array("y", y))
                    continue
                for number, half in enumerate(("low", "high")):

                    def address(array: Array, line: int = line, column: int = column, number: int = number) -> str:
                        view = array.view
                        along = number * epilogue.lanes if view.strides[1] == 1 else 0
                        shift = line * view.strides[2] + column * view.strides[3] + along
                        return f"{array.pointer} + {shift}" if shift else array.pointer

                    value = epilogue.apply(w, f"es_{half}_f16(h{line}_{column})", address, None)
                    w.line(store(epilogue.dtype, address(Array("y", y)), value))


class _Tiling(WindowTiling):
    """One problem with one schedule."""

    element = DType.F16

    @property
    def input(self) -> str:
        return self.problem.region.source

    def make_epilogue(self) -> Epilogue:
        return Epilogue(self.problem, halves=True)

    def sums(self, rows: Columns, cols: Columns) -> WindowSums:
        return _Sums(self.window, rows, cols, self.depth, self.lanes)


@kernel
class HalfDepthwise(WindowTileKernel):
    """One filter a channel, windows of a few taps, summed in fp16."""

    name: ClassVar[str] = "half-depthwise"
    widens: ClassVar[bool] = True
    tiling: ClassVar[type[WindowTiling]] = _Tiling

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv) and anchor.op.group > 1:
            yield from widening_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = conv2d_reject(problem)
        if reject is not None:
            return reject
        op = problem.anchor.op
        assert isinstance(op, Conv)
        why = halves_reject(problem)
        if why is not None:
            return Reject(why)
        x, y = problem.view(problem.region.source), problem.type(problem.anchor.outputs[0])
        if not op.group == x.shape[1] == y.shape[1]:
            return Reject(f"{op.group} groups of {x.shape[1]} channels, {y.shape[1]} filters: not depthwise")
        lanes = _Tiling.lanes_of(problem)
        if x.shape[1] % lanes:
            return Reject(f"{x.shape[1]} channels are no whole vectors of {lanes}")
        if x.strides[1] != 1:
            return Reject(f"input channels have stride {x.strides[1]}, vectors need 1")
        if prod(op.window.kernel) > LONGEST:
            return Reject(f"{prod(op.window.kernel)} taps are too many for sums in fp16")
        epilogue = Epilogue(problem, halves=True)
        if epilogue.reject:
            return Reject(epilogue.reject)
        return None if self.schedules(problem) else Reject("the window has too many taps to write out one by one")

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        found = Epilogue(problem, halves=True).in_place(problem)
        return tuple(v for v in found if v != problem.region.source)

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        return rounding_of_chunks(node, operands)
