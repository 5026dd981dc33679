"""MaxPool of 8-bit and 16-bit integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import far_cycles
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.region import Region, region
from edgesmith.ops.max_pool import MaxPool

INTEGERS = (DType.I8, DType.U8, DType.I16, DType.U16)
UNROLLED_TAPS = 25
STEP_NS = 50.0
OUTPUT_CYCLES = 8.0


@kernel
class ByteMaxPool(Kernel):
    """Windows over one or two spatial axes; compilers turn the loop over the channels into maxima of whole vectors.

    A tap outside the input reads the nearest tap of its window inside, which changes no maximum: no output is special.
    """

    name: ClassVar[str] = "byte-max-pool"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, MaxPool) and graph.type(anchor.inputs[0]).dtype in INTEGERS:
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if not isinstance(op, MaxPool) or len(problem.region.nodes) > 1:
            return Reject("computes MaxPool alone")
        x = problem.type(problem.anchor.inputs[0])
        if x.dtype not in INTEGERS:
            return Reject(f"pools 8-bit and 16-bit integers, not {x}")
        if op.indices:
            return Reject("returns indices")
        if x.rank > 4 or not problem.region.inputs:
            return Reject("pools run-time values over one or two spatial axes")
        if op.window.kernel[-1] > UNROLLED_TAPS:
            return Reject(f"{op.window.kernel[-1]} columns in a window, up to {UNROLLED_TAPS} fit")
        for value in (*problem.region.inputs, *problem.region.outputs):
            view = problem.view(value)
            if view.shape[1] == 1 or view.strides[1] != 1:
                return Reject(f"the channels of {view} are not innermost")
        if any(axis.has_empty_window for axis in _axes(problem)):
            return Reject("a window lies outside the input")
        return None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        rows, columns = _axes(problem)
        x, y = (problem.view(v) for v in (problem.region.inputs[0], problem.region.outputs[0]))
        vectors = -(-y.shape[1] * y.dtype.itemsize // (4 * problem.target.lanes))
        taps = rows.kernel * columns.kernel
        output = OUTPUT_CYCLES + taps + vectors * (taps / problem.target.core.loads_per_cycle + 1)
        cycles = y.size // y.shape[1] * output
        return STEP_NS + (cycles + far_cycles(x.size + y.size, problem.target)) / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        x, y = (problem.view(v) for v in (problem.region.inputs[0], problem.region.outputs[0]))
        rows, columns = _axes(problem)
        unrolled = rows.kernel * columns.kernel <= UNROLLED_TAPS
        output = [(0, "n"), (y.rank - 1, "ox"), *([(2, "oy")] if y.rank == 4 else [])]
        kind = y.dtype.c
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", (("n", x.shape[0]), ("oy", rows.output)))
                w.line(f"const {kind} *const image = x0 + {strided(x, [(0, 'n')])};")
                rows.first_tap(w, "oy")
                if unrolled:
                    for tap in range(rows.kernel):
                        w.line(f"const {kind} *const row{tap} = image + {rows.tap('oy', str(tap))};")
                with w.loop("ox", columns.output):
                    columns.first_tap(w, "ox")
                    w.line(f"{kind} *restrict const out = y0 + {strided(y, output)};")
                    if unrolled:
                        names = [self._pointers(w, columns, f"row{tap}") for tap in range(rows.kernel)]
                        _maxima(w, kind, y.shape[1], [name for row in names for name in row])
                    else:
                        w.line(f"const {kind} *const row = image + {rows.tap('oy', '0')};")
                        _maxima(w, kind, y.shape[1], self._pointers(w, columns, "row"))
                        with w.loop("ky", rows.kernel, 1):
                            w.line(f"const {kind} *const next = image + {rows.tap('oy', 'ky')};")
                            _maxima(w, kind, y.shape[1], ["out", *self._pointers(w, columns, "next")])
        label = f"maxpool_bytes_{y.dtype}_{rows.kernel}x{columns.kernel}"
        return Code(w.text(), label, tasks=x.shape[0] * rows.output)

    def _pointers(self, w: Writer, columns: _Axis, row: str) -> list[str]:
        """Write pointers to the taps of a row; returns their names."""
        names = []
        for tap in range(columns.kernel):
            names.append(w.fresh("t"))
            kind = columns.kind
            w.line(f"const {kind} *const {names[-1]} = {row} + {columns.tap('ox', str(tap))};")
        return names


def _maxima(w: Writer, kind: str, channels: int, taps: Sequence[str]) -> None:
    with w.loop("c", channels):
        w.line(f"{kind} m = {taps[0]}[c];")
        for tap in taps[1:]:
            w.line(f"m = {tap}[c] > m ? {tap}[c] : m;")
        w.line("out[c] = m;")


class _Axis:
    """A window along one axis."""

    def __init__(self, problem: Problem, axis: int) -> None:
        op = problem.anchor.op
        assert isinstance(op, MaxPool)
        x, y = problem.view(problem.anchor.inputs[0]), problem.view(problem.region.outputs[0])
        window = op.window
        self.kind = x.dtype.c
        self.name = "y" if axis == 0 else "x"
        if x.rank == 3 and axis == 0:
            self.kernel = self.stride = self.dilation = self.input = self.output = 1
            self.pad = self.step = 0
            return
        axis = 0 if x.rank == 3 else axis
        self.kernel, self.stride = window.kernel[axis], window.strides[axis]
        self.dilation, self.pad = window.dilations[axis], window.pads_begin[axis]
        self.input, self.output, self.step = x.shape[2 + axis], y.shape[2 + axis], x.strides[2 + axis]

    @property
    def _starts(self) -> tuple[int, int]:
        """Where the first and the last window begin."""
        return -self.pad, (self.output - 1) * self.stride - self.pad

    @property
    def has_empty_window(self) -> bool:
        first, last = self._starts
        reach = (self.kernel - 1) * self.dilation
        starts = range(first, last + 1, self.stride)
        return any(not any(0 <= s + k < self.input for k in range(0, reach + 1, self.dilation)) for s in starts)

    @property
    def _inside(self) -> bool:
        first, last = self._starts
        return first >= 0 and last + (self.kernel - 1) * self.dilation < self.input

    def first_tap(self, w: Writer, output: str) -> None:
        """Write where a window begins and, where some reach outside the input, its first and last tap inside."""
        a = self.name
        w.line(f"const int32_t {a} = {output} * {self.stride} - {self.pad};")
        if not self._inside:
            d, n = self.dilation, self.input
            w.line(f"const int32_t first_{a} = {a} < 0 ? ({d - 1} - {a}) / {d} : 0;")
            w.line(f"const int32_t reach_{a} = ({n - 1} - {a}) / {d};")
            w.line(f"const int32_t last_{a} = reach_{a} < {self.kernel - 1} ? reach_{a} : {self.kernel - 1};")

    def tap(self, output: str, tap: str) -> str:
        """C text of the offset of a tap."""
        a = self.name
        if not self._inside:
            tap = f"({tap} < first_{a} ? first_{a} : {tap} > last_{a} ? last_{a} : {tap})"
        return f"(ptrdiff_t)({a} + {tap} * {self.dilation}) * {self.step}"


def _axes(problem: Problem) -> tuple[_Axis, _Axis]:
    return _Axis(problem, 0), _Axis(problem, 1)
