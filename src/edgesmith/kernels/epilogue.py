"""Epilogues: the elementwise operators that a kernel applies to its result while it is still in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from edgesmith.c.expr import emit, var, vectorizable
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.elementwise import array_constants, compose, like_output
from edgesmith.kernels.lanes import VECTOR_TYPES, load, repeat, store
from edgesmith.ops import Array, Elementwise

__all__ = ["Epilogue", "strided"]

Address = Callable[[Array], str]
"""C text of the address of an operand's element for the output vector at hand."""


class Epilogue:
    """The operators after the anchor as one vector expression over the anchor's result.

    Args:
        axis: the axis that vectors run along; operands must be contiguous or constant along it.
        project: brings an operand's view (shaped like the output) into the kernel's own axes; None when its strides do
            not allow that. Default: the output's axes.
        sums: the value that the kernel leaves in its accumulators. Default: the anchor's result.
        integers: operands and result may be integers; otherwise everything has to be f32.
    """

    def __init__(
        self,
        problem: Problem,
        axis: int = 1,
        project: Callable[[View], View | None] = lambda view: view,
        *,
        sums: str | None = None,
        integers: bool = False,
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
        if len(region.outputs) != 1:
            self.reject = "an intermediate value is needed elsewhere"
            return
        if not all(isinstance(n.op, Elementwise) for n in self.nodes):
            self.reject = "an operator after it is not elementwise"
            return
        self.accumulator = var("acc", graph.type(anchor).dtype)
        allowed = VECTOR_TYPES if integers else {DType.F32}
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
            self._store_each(w, y, len(rows), vectors, tail, partial(self._address, row_axis, rows[0], "row"))
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

    def _store_each(
        self, w: Writer, y: View, rows: int, vectors: int, tail: int | None, address: Callable[[str, Array], str]
    ) -> None:
        """Write a loop over the rows and the vectors of ``sums``: one vector's functions fit the registers."""

        def one(vector: str, lanes: int | None) -> None:
            w.line(f"const {self._kind} sum = sums[row * {vectors} + {vector}];")
            value = self.apply(w, "sum", partial(address, vector), lanes)
            w.line(store(self.dtype, address(vector, Array("y", y)), value, lanes))

        whole = vectors - (tail is not None)
        w.line("ES_ROLLED")
        with w.block(f"for (ptrdiff_t row = 0; row < {rows}; ++row)"):
            if whole:
                w.line("ES_ROLLED")
                with w.block(f"for (ptrdiff_t vector = 0; vector < {whole}; ++vector)"):
                    one("vector", None)
            if tail is not None:
                with w.block(""):
                    one(str(whole), tail)

    @property
    def _kind(self) -> str:
        """C type of a vector of sums."""
        return "es_v" if self.accumulator.dtype is DType.F32 else "es_m"

    def _store_row(
        self, w: Writer, y: View, accumulators: Sequence[str], tail: int | None, address: Callable[[int, Array], str]
    ) -> None:
        """``address``: of an operand at a vector of the row."""
        for vector, accumulator in enumerate(accumulators):
            lanes = tail if vector == len(accumulators) - 1 else None
            value = self.apply(w, accumulator, partial(address, vector), lanes)
            target = address(vector, Array("y", y))
            w.line(store(self.dtype, target, value, lanes))

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
        leaves = {"acc": accumulator}
        for array in self.operands:
            at, dtype = address(array), array.view.dtype
            if array.view.strides[self.axis] == 0 and array.view.shape[self.axis] > 1:
                leaves[array.pointer] = repeat(dtype, f"*({at})")
            else:
                leaves[array.pointer] = load(dtype, at, lanes)
        return emit(self.expr, leaves, w, vector=True)

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
