"""Exact Winograd convolution of bytes: transforms in 16 bits, sums modulo 2**32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.conv.winograd_code import WinogradCode
from edgesmith.kernels.conv.winograd_cost import nanoseconds
from edgesmith.kernels.conv.winograd_numbers import Numbers
from edgesmith.kernels.conv.winograd_schedules import Outputs, outputs_of, winograd_schedules
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import Transform
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.integer.dot import dot2_cycles
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.kernels.integer.winograd_form import IntegerForm, integer_form, transformed_weights
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Products
from edgesmith.ops.integer_products import ConvInteger

OUTPUTS: Outputs = {1: {1: (1,), 2: (2, 4), 3: (2, 4)}, 2: {3: (2, 4)}}
MOST_I16 = 2**15 - 1


@kernel
class IntegerWinograd(Kernel):
    """Strides 1 and 2, channels innermost.

    It is offered where the weights at hand cannot overflow: the transformed weights fit 16 bits, and so does the
    transformed input whatever it is; the sums fit the bits that the division by the form's multiple leaves.
    """

    name: ClassVar[str] = "integer-winograd"
    always_prepares: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, ConvInteger):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem)
        if window.reject is not None:
            return Reject(window.reject)
        if not isinstance(problem.anchor.op, ConvInteger) or max(window.kernel) == 1:
            return Reject(f"{problem.anchor.op.name} has a 1x1 kernel, there is nothing to save")
        if window.group != 1:
            return Reject(f"{window.group} groups, needs 1")
        if set(window.dilations) != {1}:
            return Reject(f"dilation {'x'.join(map(str, window.dilations))}; F(m, r) needs dilation 1")
        x = problem.view(problem.anchor.inputs[0])
        if x.strides[1] != 1:
            return Reject(f"input channels have stride {x.strides[1]}, vectors need 1")
        if not _forms(problem):
            kernel, strides = ("x".join(map(str, v)) for v in (window.kernel, window.strides))
            return Reject(f"no form of a {kernel} kernel at stride {strides} keeps these weights within 16 bits")
        epilogue = _epilogue(problem)
        return Reject(epilogue.reject) if epilogue.reject else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return winograd_schedules(problem, _forms(problem), lambda schedule: _tiling(problem, schedule))

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return nanoseconds(_tiling(problem, schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return _epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        window = integer_window(problem)
        weights = window.weights.transpose(0, 3, 1, 2)
        return WinogradCode(_tiling(problem, schedule), _epilogue(problem), weights, window.bias).code()


def _epilogue(problem: Problem) -> Epilogue:
    return Epilogue(problem, sums=integer_window(problem).sums, integers=True)


def _forms(problem: Problem) -> list[tuple[int, int]]:
    """Outputs of a tile, (height, width), for which nothing overflows."""
    op, window = problem.anchor.op, integer_window(problem)
    assert isinstance(op, ConvInteger)
    return [
        (height, width)
        for height, width in outputs_of(op.window, OUTPUTS)
        if _fits(window, _form(window, 0, height), _form(window, 1, width))
    ]


def _form(window: IntegerWindow, axis: int, outputs: int) -> IntegerForm:
    return integer_form(outputs, window.kernel[axis], window.strides[axis])


def _fits(window: IntegerWindow, vertical: IntegerForm, horizontal: IntegerForm) -> bool:
    low, high = (n - window.x_zero for n in ((-128, 127) if window.input_type is DType.I8 else (0, 255)))
    if max(-low, high) * vertical.input_growth * horizontal.input_growth > MOST_I16:
        return False
    weights = window.weights.transpose(0, 3, 1, 2).astype(np.int64)
    transformed = transformed_weights(weights, vertical, horizontal)
    if transformed.size and np.abs(transformed).max() > MOST_I16:
        return False
    largest = np.maximum(weights * low, weights * high).reshape(len(weights), -1).sum(1)
    smallest = np.minimum(weights * low, weights * high).reshape(len(weights), -1).sum(1)
    bits = 32 - _Integers(window, vertical.multiple * horizontal.multiple).shift
    return bool(max(largest.max(initial=0), -smallest.min(initial=0)) < 2 ** (bits - 1))


def _tiling(problem: Problem, schedule: Schedule) -> Tiling:
    window = integer_window(problem)
    multiple = _form(window, 0, schedule["height"]).multiple * _form(window, 1, schedule["width"]).multiple
    return Tiling(problem, schedule, _Integers(window, multiple), _transform)


def _transform(m: int, r: int, stride: int) -> Transform:
    return integer_form(m, r, stride).transform


class _Integers(Numbers):
    """Inputs less their zero point as i16, products of pairs of channels, sums modulo 2**32.

    Weights of a pair lie side by side, or, where the target multiplies them so, in a vector of the first and one of the
    second ones.

    Args:
        multiple: what the transformed sums are a multiple of the convolution by.
    """

    sums = DType.I32
    vector = "es_i16_pairs"
    sum_vector = "es_u"
    result_vector = "es_m"

    def __init__(self, window: IntegerWindow, multiple: int) -> None:
        self.source, self.zero = window.input_type, window.x_zero
        target = window.problem.target
        self.planes = target.has("dot2_planes")
        self.products = Products(
            group=2,
            element=DType.I16,
            vector="es_m",
            repeat="es_pair({0} + {1})",
            load="es_pairs_i16({0})",
            add=f"es_dot2{'_planes' if self.planes else ''}({{0}}, {{1}}, {{2}})",
            cycles=dot2_cycles(target, planes=self.planes) * target.core.fma_per_cycle,
            registers=1,
        )
        self.multiple = multiple
        self.wide = bool(np.abs(window.weights).max(initial=0) > 127)

    @property
    def weight(self) -> DType:
        return DType.I16 if self.wide else DType.I8

    @cached_property
    def shift(self) -> int:
        """Power of two in the multiple."""
        return (self.multiple & -self.multiple).bit_length() - 1

    def read(self, address: str, channels: int | None) -> str:
        load = f"({address})" if channels is None else f"_n({address}, {channels})"
        value = f"(es_i16_pairs)es_pairs_{self.source}{load}"
        return f"{value} {'+' if self.zero < 0 else '-'} {abs(self.zero)}" if self.zero else value

    def store_input(self, address: str, value: str) -> str:
        return f"es_store_i32((int32_t *)(void *)({address}), (es_m){value});"

    def read_weights(self, address: str) -> str:
        return f"es_load_{self.weight}({address})"

    def store_weights(self, address: str, values: Sequence[str]) -> str:
        if self.planes:
            first, second = values
            return f"es_store_i16({address}, {first}); es_store_i16({address} + ES_LANES, {second});"
        even, odd = (f"es_to_i32({v})" for v in values)
        return f"es_store_i32((int32_t *)(void *)({address}), ({even} & 0xffff) | (es_m)((es_u){odd} << 16));"

    def read_sums(self, address: str) -> str:
        return f"(es_u)es_load_i32({address})"

    def zero_sums(self, names: Sequence[str]) -> str:
        return f"es_m {', '.join(f'{name} = {{0}}' for name in names)};"

    def continue_sums(self, name: str, address: str) -> str:
        return f"{name} = es_load_i32({address});"

    def store_sums(self, address: str, name: str) -> str:
        return f"es_store_i32({address}, {name});"

    def read_bias(self, address: str) -> str:
        return f"es_load_i32({address})"

    def result(self, w: Writer, value: str) -> str:
        odd = self.multiple >> self.shift
        text = f"({value})" if odd == 1 else f"(({value}) * {pow(odd, -1, 2**32)}u)"
        return f"((es_m){text} >> {self.shift})" if self.shift else f"(es_m){text}"
