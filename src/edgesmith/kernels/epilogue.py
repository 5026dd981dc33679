"""Epilogues: the elementwise operators that a kernel applies to its result while it is still in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial

import numpy as np

from edgesmith.c.expr import emit_together, nodes, replaced, var, vectorizable
from edgesmith.c.mathfunctions import functions_of, inlined
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.elementwise import array_constants, compose, like_output
from edgesmith.kernels.lanes import VECTOR_TYPES, load, repeat, store
from edgesmith.kernels.quantized_store import Rounding, largest_of
from edgesmith.ops import Array, Elementwise

__all__ = ["Epilogue", "strided"]

Address = Callable[[Array], str]
"""C text of the address of an operand's element for the output vector at hand."""

FLOAT_OF_BITS = 3 << 22
FLOAT_BITS = int(np.float32(FLOAT_OF_BITS).view(np.int32))
ALTERNATING = 10
"""Vectors whose functions are computed together, at most."""


class Epilogue:
    """The operators after the anchor as one vector expression over the anchor's result.

    Args:
        axis: the axis that vectors run along; operands must be contiguous or constant along it.
        project: brings an operand's view (shaped like the output) into the kernel's own axes; None when its strides do
            not allow that. Default: the output's axes.
        sums: the value that the kernel leaves in its accumulators. Default: the anchor's result.
        integers: operands and result may be integers, or floats of 16 bits.
        halves: they may be of fp16; otherwise everything has to be f32.
    """

    def __init__(
        self,
        problem: Problem,
        axis: int = 1,
        project: Callable[[View], View | None] = lambda view: view,
        *,
        sums: str | None = None,
        integers: bool = False,
        halves: bool = False,
    ) -> None:
        region, graph = problem.region, problem.graph
        self.reject: str | None = None
        anchor = sums or region.anchor.outputs[0]
        self.nodes = region.nodes[[anchor in n.outputs for n in region.nodes].index(True) + 1 :]
        self.axis = axis
        self.lanes = problem.target.lanes
        out = region.outputs[0] if region.outputs else anchor
        self.dtype = graph.type(out).dtype
        self.functions: tuple[str, ...] = ()
        self.operands: list[Array] = []
        self.values: list[str] = []
        self.constants: list[tuple[str, np.ndarray]] = []
        self.rounding: Rounding | None = None
        self.start = 0
        """What sums have to start with beside their bias."""
        self.less: float | None = None
        """What sums, taken for the bits of floats, exceed their values by; None: they are integers."""
        if len(region.outputs) != 1:
            self.reject = "an intermediate value is needed elsewhere"
            return
        if not all(isinstance(n.op, Elementwise) for n in self.nodes):
            self.reject = "an operator after it is not elementwise"
            return
        self.accumulator = var("acc", graph.type(anchor).dtype)
        allowed = VECTOR_TYPES if integers else {DType.F32, DType.F16} if halves else {DType.F32}
        if not self.nodes:
            self.expr = self.accumulator
            return
        y = problem.view(out)
        read = dict.fromkeys(v for n in self.nodes for v in n.read if v in region.inputs)
        views: list[tuple[str, View]] = []
        for value in read:
            views.append((f"x{region.inputs.index(value)}", problem.view(value).broadcast(y.shape)))
            self.values.append(value)
        for value in array_constants(graph, self.nodes):
            packed, view = like_output(graph.constants[value], y)
            name = f"e{len(self.constants)}"
            self.constants.append((name, packed))
            views.append((name, view.broadcast(y.shape)))
        for pointer, whole in views:
            projected = project(whole)
            if projected is None:
                self.reject = f"operand {whole} has uneven rows"
                return
            self.operands.append(Array(pointer, projected))
        leaves = {
            v: var(a.pointer, graph.type(v).dtype)
            for v, a in zip((*read, *array_constants(graph, self.nodes)), self.operands, strict=True)
        }
        if any(graph.type(v).dtype not in allowed for v in leaves):
            self.reject = f"an operand of the operators after it is not {'in vectors' if integers else 'f32'}"
            return
        for operand in self.operands:
            if operand.view.strides[axis] not in (0, 1) and operand.view.shape[axis] > 1:
                self.reject = f"operand {operand.view} is not contiguous along the vectors"
                return
        self.expr = compose(graph, self.nodes, {**leaves, anchor: self.accumulator})
        self.reject = vectorizable(self.expr) or (None if self.dtype in allowed else f"the result is {self.dtype}")
        self.functions = functions_of(self.expr)
        arrays = dict(self.constants)
        self._limits = {a.pointer: largest_of(a.view.dtype, arrays.get(a.pointer)) for a in self.operands}
        self._limits["acc"] = largest_of(self.accumulator.dtype)
        self._target = problem.target
        self.rounding = Rounding.of(self.expr, self._limits, problem.target)

    def of_bounded(self, low: int, high: int) -> Epilogue:
        """The same for i32 sums that lie within bounds, without conversions of them where that is possible.

        Sums that start with the bits of 1.5 * 2**23 become the bits of that number plus the sum, as long as the sum is
        below 2**22; a subtraction of floats, which is exact, then takes the place of the conversion. Where the bounds
        are not around 0, sums start with less or more.
        """
        middle = (low + high) // 2
        if self.accumulator.dtype is not DType.I32 or max(high - middle, middle - low, abs(middle)) >= 2**22:
            return self
        real = var("acc", DType.F32)
        expr = replaced(
            self.expr, lambda e: e.op == "cast" and e.dtype is DType.F32 and e.args[0] is self.accumulator, real
        )
        if expr is self.expr or any(e is self.accumulator for e in nodes(expr)) or expr.dtype is DType.I32:
            return self
        bounded = copy(self)
        bounded.expr, bounded.start, bounded.less = expr, FLOAT_BITS - middle, float(FLOAT_OF_BITS - middle)
        limits = {**self._limits, "acc": float(max(abs(low), abs(high)))}
        bounded.rounding = Rounding.of(expr, limits, self._target)
        return bounded

    @property
    def label(self) -> str:
        """Names of the operators, for a function name."""
        return "".join(f"_{n.op.name.lower()}" for n in self.nodes)[:40]

    @property
    def parameters(self) -> str:
        """C parameters for the operands, each after a comma."""
        return "".join(f", const {a.view.dtype.c} *{a.pointer}" for a in self.operands)

    def arguments(self, index: Sequence[tuple[int, str]], suffix: str = "") -> str:
        """C arguments for the operands, each after a comma: pointers to the elements at ``index`` (see ``strided``).

        Args:
            suffix: of the variables that the pointers start from.
        """
        return "".join(f", {a.pointer}{suffix} + {strided(a.view, index)}" for a in self.operands)

    def store(self, w: Writer, y: View, rows: Sequence[int], vectors: int, tail: int | None, row_axis: int) -> None:
        """Write the epilogue of a register tile and its stores to the pointer ``y``.

        One that calls functions becomes a loop over the sums in memory: their constants need the registers.

        Args:
            y: the output in the kernel's axes.
            rows, vectors: the accumulators ``c<row>_<vector>``; rows are consecutive.
            tail: lanes of the last vector (None: all).
            row_axis: axis that the tile's rows run along.
        """
        sums = [[f"c{row}_{vector}" for vector in range(vectors)] for row in rows]
        if not self.functions or (len(rows) == 1 and self.accumulator.dtype is DType.F32):
            for row, accumulators in zip(rows, sums, strict=True):
                self._store_row(w, y, accumulators, tail, partial(self._address, row_axis, row, ""))
            return
        w.line(f"const {self._kind} sums[] = {{{', '.join(name for row in sums for name in row)}}};")
        if self.accumulator.dtype is DType.I32:

            def address(further: int, vector: str, array: Array) -> str:
                return self._address(row_axis, rows[0] + further, "row", vector, array)

            self._store_alternating(w, y, range(len(rows)), vectors, tail, address)
            return
        in_memory = [f"sums[row * {vectors} + {vector}]" for vector in range(vectors)]
        self.store_rows(w, y, in_memory, str(len(rows)), tail, row_axis, rows[0])

    def store_rows(
        self, w: Writer, y: View, sums: Sequence[str], count: str, tail: int | None, row_axis: int, first: int = 0
    ) -> None:
        """Write the epilogue of ``count`` rows as a loop over ``row``, and its stores to the pointer ``y``.

        Args:
            sums: C expressions of the vectors of the row ``row``.
            tail, row_axis: as for ``store``.
            first: row of the pointers' elements at which the loop begins.
        """
        w.line("ES_ROLLED")
        with w.block(f"for (ptrdiff_t row = 0; row < {count}; ++row)"):
            self._store_row(w, y, sums, tail, partial(self._address, row_axis, first, "row"))

    def _store_alternating(
        self, w: Writer, y: View, rows: range, vectors: int, tail: int | None, address: Callable[[int, str, Array], str]
    ) -> None:
        """Write loops over the rows and the vectors of ``sums``, in each of which some are computed together.

        Args:
            address: of an operand some rows after the row ``row``, at a vector.
        """
        whole = vectors - (tail is not None)
        across = _divisor(whole, ALTERNATING)
        down = _divisor(len(rows), ALTERNATING // across)
        w.line("ES_ROLLED")
        with w.block(f"for (ptrdiff_t row = 0; row < {len(rows)}; row += {down})"):
            if whole:
                w.line("ES_ROLLED")
                with w.block(f"for (ptrdiff_t vector = 0; vector < {whole}; vector += {across})"):
                    for i in range(down):
                        for j in range(across):
                            w.line(f"const {self._kind} sum{i}_{j} = sums[(row + {i}) * {vectors} + vector + {j}];")
                    places = [(i, j) for i in range(down) for j in range(across)]
                    at = [partial(address, i, f"(vector + {j})") for i, j in places]
                    self.store_vectors(w, y, [f"sum{i}_{j}" for i, j in places], at)
            if tail is not None:
                sums = [f"sums[(row + {i}) * {vectors} + {whole}]" for i in range(down)]
                self.store_vectors(w, y, sums, [partial(address, i, str(whole)) for i in range(down)], tail)

    @property
    def _kind(self) -> str:
        """C type of a vector of sums."""
        return "es_v" if self.accumulator.dtype is DType.F32 else "es_m"

    def _store_row(
        self, w: Writer, y: View, accumulators: Sequence[str], tail: int | None, address: Callable[[int, Array], str]
    ) -> None:
        """``address``: of an operand at a vector of the row."""
        places = [partial(address, vector) for vector in range(len(accumulators))]
        whole = len(accumulators) - (tail is not None)
        first = 0
        while first < whole:
            group = slice(first, first + self._together(y, whole - first))
            self.store_vectors(w, y, accumulators[group], places[group], adjacent=True)
            first = group.stop
        if tail is not None:
            self.store_vectors(w, y, accumulators[-1:], places[-1:], tail)

    def _together(self, y: View, left: int) -> int:
        """How many of the neighbouring vectors that are left are stored at once."""
        if self.rounding is None or y.strides[self.axis] != 1:
            return 1
        sizes = self.rounding.together
        return next((n for n in sizes if n <= left), min(left, sizes[-1] - 1))

    def store_vectors(
        self,
        w: Writer,
        y: View,
        sums: Sequence[str],
        addresses: Sequence[Address],
        lanes: int | None = None,
        *,
        adjacent: bool = False,
    ) -> None:
        """Write the epilogue of some vectors, and their stores to the pointer ``y``.

        Args:
            sums: C expressions of the vectors.
            addresses: of an operand, for each of them.
            lanes: number of lanes of each vector (None: all).
            adjacent: they lie one behind the other in the output.
        """
        rounding = self.rounding if lanes is None else None
        expr = rounding.value if rounding else self.expr
        copies = [self._leaves(total, address, lanes) for total, address in zip(sums, addresses, strict=True)]
        if self.functions and self.accumulator.dtype is DType.I32:
            values: Sequence[str] = emit_together(inlined(expr), copies, w, vector=True)
        else:
            values = [emit_together(expr, [leaves], w, vector=True)[0] for leaves in copies]
        targets = [address(Array("y", y)) for address in addresses]
        if rounding and adjacent and len(values) in rounding.together:
            w.line(rounding.store(targets[0], values))
            return
        for target, value in zip(targets, values, strict=True):
            w.line(rounding.store(target, [value]) if rounding else store(self.dtype, target, value, lanes))

    def _address(self, row_axis: int, row: int, further: str, vector: int | str, array: Array) -> str:
        """C text of an operand's address ``further`` rows (an index, or nothing) after ``row``.

        Args:
            vector: number of the vector, or an index.
        """
        view = array.view
        stride = view.strides[row_axis]
        terms, shift = [f"{further} * {stride}" if further and stride else ""], row * stride
        if view.strides[self.axis] == 1 or view.shape[self.axis] == 1:
            if isinstance(vector, int):
                shift += vector * self.lanes
            else:
                terms.append(f"{vector} * {self.lanes}")
        return " + ".join(filter(None, (array.pointer, *terms, str(shift) if shift else "")))

    def apply(self, w: Writer, accumulator: str, address: Address, lanes: int | None) -> str:
        """Write the statements and return the C expression of the final vector.

        Args:
            lanes: number of lanes of a partial vector (None: all).
        """
        return emit_together(self.expr, [self._leaves(accumulator, address, lanes)], w, vector=True)[0]

    def _leaves(self, accumulator: str, address: Address, lanes: int | None) -> dict[str, str]:
        """C text of each variable of the expression."""
        less = self.less
        leaves = {"acc": accumulator if less is None else f"((es_v){accumulator} - es_set1({less}f))"}
        for array in self.operands:
            at, dtype = address(array), array.view.dtype
            if array.view.strides[self.axis] == 0 and array.view.shape[self.axis] > 1:
                leaves[array.pointer] = repeat(dtype, f"*({at})")
            else:
                leaves[array.pointer] = load(dtype, at, lanes)
        return leaves

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        """Run-time operands that lie exactly like the output, so that it may overwrite them."""
        y = problem.view(problem.region.outputs[0])
        shared = set(problem.anchor.read)
        alike = [v for v in self.values if v not in shared and problem.view(v).dtype.itemsize == y.dtype.itemsize]
        return tuple(v for v in alike if problem.view(v).same_place(y))


def strided(view: View, index: Sequence[tuple[int, str]]) -> str:
    """C text of an offset: the sum of index x stride over (axis, index text) pairs, zero terms left out.

    It is computed in ``ptrdiff_t`` where the view spans 2**31 elements or more.
    """
    wide = "(ptrdiff_t)" if view.span > 2**31 - 1 else ""
    terms = []
    for axis, text in index:
        stride = view.strides[axis]
        if stride == 0 or text == "0" or view.shape[axis] == 1:
            continue
        factor = wide + (text if text.isidentifier() or text.isdigit() else f"({text})")
        terms.append(factor if stride == 1 else f"{factor} * {stride}")
    return " + ".join(terms) or "0"


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above ``most``; 1 for 0."""
    return max(d for d in range(1, max(most, 1) + 1) if number % d == 0) if number else 1
