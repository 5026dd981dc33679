"""The C text of a product over lists of single weights."""

from __future__ import annotations

from math import prod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import SIGNATURE, Code, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.product import Product
from edgesmith.kernels.sparse.pattern import SparseProduct, not_empty
from edgesmith.target import Target

__all__ = ["ElementEmitter", "chains", "scratch_bytes"]

LEAST_SUMS = 8
"""Sums side by side, so that additions do not wait for one another."""
SHORT_STEPS = 1 << 16


def chains(target: Target, vectors: int) -> int:
    """Sums of each vector of pixels, which take turns."""
    return max(1, min(LEAST_SUMS // vectors, (target.registers - 3) // vectors, 4))


def scratch_bytes(p: Product, vectors: int) -> int:
    """The pixels of a task channel by channel, and the results of one vector of channels."""
    lanes = p.problem.target.lanes
    steps = -(-p.steps // lanes) * lanes
    return (steps + lanes) * vectors * lanes * FLOAT_BYTES


class ElementEmitter:
    """Writes the three parts of a task: pixels brought in, products, results brought out."""

    def __init__(self, sparse: SparseProduct, vectors: int) -> None:
        self.sparse, self.p, self.vectors = sparse, sparse.product, vectors
        self.target = self.p.problem.target
        self.lanes = self.target.lanes
        self.pixels = vectors * self.lanes
        self.steps = -(-self.p.steps // self.lanes) * self.lanes
        self.row_stride = self.p.x.strides[-2]
        self.step_stride = self.p.x.strides[-1] if self.p.steps > 1 else 1
        self.epilogue = self.p.epilogue

    def code(self) -> Code:
        p = self.p
        kind = "u2" if p.steps <= SHORT_STEPS else "i4"
        channels, steps = np.nonzero(p.weights)
        starts = np.searchsorted(channels, np.arange(p.channels + 1)).astype(np.int32)
        bias = np.zeros(p.channels, np.float32) if p.bias is None else np.ascontiguousarray(p.bias, np.float32)
        weights = np.ascontiguousarray(p.weights[channels, steps], np.float32)
        lists = [("weights", weights), ("bias", bias), ("starts", starts), ("at", steps.astype(kind))]
        constants = [(name, not_empty(a)) for name, a in lists] + self.epilogue.constants
        offset = "uint16_t" if kind == "u2" else "int32_t"
        w = Writer()
        self._bring_in(w)
        self._products(w, offset)
        tails = [None] if p.channels % self.lanes == 0 else [None, p.channels % self.lanes]
        for tail in tails if p.channels > self.lanes else tails[-1:]:
            self._bring_out(w, tail)
        blocks = -(-p.rows // self.pixels)
        slices = [(f"slice{i}", n) for i, n in enumerate(p.slices)]
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("float *const xt = (float *)scratch;")
            w.line(f"float *const yt = xt + {self.steps * self.pixels};")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [*slices, ("block", blocks)])
                w.line(f"const int32_t row = block * {self.pixels};")
                w.line(f"const int32_t rows = row + {self.pixels} < {p.rows} ? {self.pixels} : {p.rows} - row;")
                apart = [(axis, name) for axis, (name, _) in enumerate(slices)]
                w.line(f"@NAME@_in(x0 + {strided(p.x, [*apart, (p.apart, 'row')])}, rows, xt);")
                self._channels(w, apart, len(tails) > 1)
        op = p.problem.anchor.op.name.lower()
        label = f"{op}_sparse_elements_f32{self.epilogue.label}_{self.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            blocks * prod(p.slices),
            scratch_bytes(p, self.vectors),
            functions=self.epilogue.functions,
        )

    def _channels(self, w: Writer, apart: list[tuple[int, str]], has_tail: bool) -> None:
        """Write the loop over the vectors of output channels."""
        p, lanes = self.p, self.lanes
        position = [*apart, (p.apart, "row"), (p.apart + 1, "first")]
        arguments = f"(yt, rows, y0 + {strided(p.y, position)}{self.epilogue.arguments(position)});"
        whole = p.channels // lanes * lanes
        products = "@NAME@_products(xt, weights, bias, starts, at, first, {}, yt);"
        if whole:
            with w.block(f"for (int32_t first = 0; first < {whole}; first += {lanes})"):
                w.line(products.format(f"first + {lanes}"))
                w.line(f"@NAME@_out{arguments}")
        if has_tail or not whole:
            with w.block(""):
                w.line(f"enum {{ first = {whole} }};")
                w.line(products.format(p.channels))
                w.line(f"@NAME@_out_tail{arguments}")

    def _bring_in(self, w: Writer) -> None:
        """Write the function that brings pixels channel by channel; missing pixels are 0."""
        with w.block("static void @NAME@_in(const float *x, const int32_t rows, float *xt)"):
            if self.row_stride == 1 and self.p.rows > 1:
                self._copy_in(w)
            elif self.step_stride == 1:
                self._turn_in(w)
            else:
                self._gather_in(w)
        w.line()

    def _copy_in(self, w: Writer) -> None:
        with w.block(f"for (int32_t k = 0; k < {self.p.steps}; ++k, x += {self.step_stride}, xt += {self.pixels})"):
            with w.block(f"if (rows == {self.pixels})"):
                for v in range(self.vectors):
                    w.line(f"es_store(xt + {v * self.lanes}, es_load(x + {v * self.lanes}));")
            with w.block("else"):
                w.line(f"for (int32_t r = 0; r < {self.pixels}; ++r) xt[r] = r < rows ? x[r] : 0.0f;")

    def _gather_in(self, w: Writer) -> None:
        source = f"x[(ptrdiff_t)r * {self.row_stride} + (ptrdiff_t)k * {self.step_stride}]"
        with w.block(f"for (int32_t k = 0; k < {self.p.steps}; ++k, xt += {self.pixels})"):
            w.line(f"for (int32_t r = 0; r < {self.pixels}; ++r) xt[r] = r < rows ? {source} : 0.0f;")

    def _turn_in(self, w: Writer) -> None:
        lanes, whole, rest = self.lanes, self.p.steps // self.lanes * self.lanes, self.p.steps % self.lanes

        def block(load: str) -> None:
            w.line(f"es_v t[{lanes}];")
            with w.block(f"for (int32_t j = 0; j < {lanes}; ++j)"):
                w.line(f"t[j] = r + j < rows ? {load} : es_set1(0.0f);")
            w.line("es_transpose(t);")
            with w.block(f"for (int32_t j = 0; j < {lanes}; ++j)"):
                w.line(f"es_store(xt + (ptrdiff_t)(k + j) * {self.pixels} + r, t[j]);")

        with w.block(f"for (int32_t r = 0; r < {self.pixels}; r += {lanes})"):
            source = f"x + (ptrdiff_t)(r + j) * {self.row_stride} + k"
            if whole:
                with w.block(f"for (int32_t k = 0; k < {whole}; k += {lanes})"):
                    block(f"es_load({source})")
            if rest:
                with w.block(""):
                    w.line(f"enum {{ k = {whole} }};")
                    block(f"es_load_n({source}, {rest})")

    def _products(self, w: Writer, offset: str) -> None:
        """Write the function that computes some output channels of all pixels."""
        vectors, lanes, many = range(self.vectors), self.lanes, chains(self.target, self.vectors)
        head = "static void @NAME@_products(const float *xt, const float *w, const float *b, const int32_t *starts, "
        head += f"const {offset} *at, const int32_t first, const int32_t last, float *yt)"

        def step(chain: int) -> None:
            with w.block(""):
                index = f"i + {chain}" if chain else "i"
                w.line(f"const es_v a = es_set1(w[{index}]);")
                w.line(f"const float *const xk = xt + (ptrdiff_t)at[{index}] * {self.pixels};")
                for v in vectors:
                    name = f"{'cdef'[chain]}{v}"
                    w.line(f"{name} = es_fma(es_load(xk + {v * lanes}), a, {name});")

        with (
            w.block(head),
            w.block(f"for (int32_t channel = first; channel < last; ++channel, yt += {self.pixels})"),
        ):
            w.line("const es_v bias = es_set1(b[channel]);")
            w.line("es_v " + ", ".join(f"c{v} = bias" for v in vectors) + ";")
            for name in "def"[: many - 1]:
                w.line("es_v " + ", ".join(f"{name}{v} = {{0.0f}}" for v in vectors) + ";")
            w.line("const int32_t end = starts[channel + 1];")
            w.line("int32_t i = starts[channel];")
            with w.block(f"for (; i + {many} <= end; i += {many})"):
                for chain in range(many):
                    step(chain)
            if many > 1:
                with w.block("for (; i < end; ++i)"):
                    step(0)
            for v in vectors:
                total = " + ".join(f"{name}{v}" for name in "cdef"[:many])
                w.line(f"es_store(yt + {v * lanes}, {total});")
        w.line()

    def _bring_out(self, w: Writer, tail: int | None) -> None:
        """Write the function that brings a vector of output channels back, and applies the epilogue."""
        p, lanes = self.p, self.lanes
        name = "@NAME@_out" if tail is None else "@NAME@_out_tail"
        y_stride = p.y.strides[p.apart]
        with (
            w.block(f"static void {name}(const float *yt, const int32_t rows, float *y{self.epilogue.parameters})"),
            w.block(f"for (int32_t r = 0; r < rows; r += {lanes})"),
        ):
            w.line(f"es_v t[{lanes}];")
            for j in range(lanes):
                taken = tail is None or j < tail
                w.line(f"t[{j}] = {f'es_load(yt + {j * self.pixels} + r)' if taken else 'es_set1(0.0f)'};")
            w.line("es_transpose(t);")
            w.line(f"const int32_t count = rows - r < {lanes} ? rows - r : {lanes};")
            self.epilogue.store_rows(w, p.y, ["t[row]"], "count", tail, row_axis=p.apart)
            w.line(f"y += {lanes * y_stride};")
            for operand in self.epilogue.operands:
                stride = operand.view.strides[p.apart]
                if stride:
                    w.line(f"{operand.pointer} += {lanes * stride};")
        w.line()
