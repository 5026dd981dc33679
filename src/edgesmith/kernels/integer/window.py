"""The sums of integer products behind a convolution or matrix product, in the axes that kernels loop over."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from edgesmith.ir import DType
from edgesmith.kernels.base import Problem
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.line_window import LineWindow
from edgesmith.ops.cast import Cast
from edgesmith.ops.integer_products import ConvolutionSums, IntegerProduct
from edgesmith.ops.sign_products import SignProduct

__all__ = ["IntegerWindow", "integer_window"]


class IntegerWindow(LineWindow):
    """Sums of integer products; weights are i16, less their zero points.

    Args:
        takes_signs: whether the kernel reads every input element through ``number``, so that only its sign may count.
        any_width: whether inputs of 16 bits and sums beyond 32 will do.
    """

    bias: np.ndarray
    """(channels) as i64: the bias, where the region adds one."""
    wide: bool
    """Whether the sums may not fit 32 bits; the accumulators then hold them as f32."""

    def __init__(self, problem: Problem, takes_signs: bool = False, any_width: bool = False) -> None:
        super().__init__(problem)
        node, graph = problem.anchor, problem.graph
        if not isinstance(node.op, IntegerProduct):
            self.reject = f"{node.op.name} has no integer products"
        elif isinstance(node.op, SignProduct) and not takes_signs:
            self.reject = "reads numbers, not signs"
        elif problem.target.isa is None:
            self.reject = "needs vectors, the target is portable C"
        elif any(v not in graph.constants for v in node.read[1:]) or node.inputs[0] in graph.constants:
            self.reject = "weights are computed at run time"
        elif len(problem.region.outputs) != 1:
            self.reject = "an intermediate value is needed elsewhere"
        elif not any_width and graph.type(node.inputs[0]).dtype.itemsize > 1:
            self.reject = "multiplies bytes, not 16-bit numbers"
        elif not any_width and node.op.sums is not DType.I32:
            self.reject = "sums in 32 bits"
        elif node.op.sums is DType.I64 and not _as_floats(problem, _bias(problem)[0]):
            self.reject = "sums beyond 32 bits have to become floats in registers"
        else:
            zero = node.inputs[2] if len(node.inputs) > 2 else ""
            self.x_zero = int(graph.constants[zero].item()) if zero else 0
            self.wide = node.op.sums is DType.I64
            self.sums, self.bias = _bias(problem)
            if self.wide:
                self.sums = _as_floats(problem, self.sums)
            if isinstance(node.op, ConvolutionSums):
                self.convolution(node.op.window, node.op.group)
            else:
                self.product(node)

    def constant_weights(self, axis: int) -> np.ndarray:
        node, graph = self.problem.anchor, self.problem.graph
        weights = graph.constants[node.inputs[1]].astype(np.int16)
        zero = node.inputs[3] if len(node.inputs) > 3 else ""
        if not zero:
            return weights
        points = graph.constants[zero].astype(np.int16).reshape(-1)
        along = [-1 if a == axis and points.size > 1 else 1 for a in range(weights.ndim)]
        return weights - points.reshape(along)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Between which all sums lie, whatever the input; its elements count as they are, less the zero point."""
        least, most = (limit - self.x_zero for limit in self.x.dtype.limits)
        weights = self.weights.astype(np.int64).reshape(self.channels, -1)
        low = np.minimum(weights * least, weights * most).sum(1) + self.bias
        high = np.maximum(weights * least, weights * most).sum(1) + self.bias
        return int(low.min(initial=0)), int(high.max(initial=0))

    @cached_property
    def narrow_epilogue(self) -> Epilogue:
        """The epilogue for sums that start with its ``start``; without conversions where these are slow."""
        target, signs = self.problem.target, isinstance(self.problem.anchor.op, SignProduct)
        if signs or self.wide or self.x.dtype.itemsize > 1 or not target.core.converts_slowly:
            return self.epilogue
        return self.epilogue.of_bounded(*self.bounds)

    def number(self, element: str) -> str:
        op = self.problem.anchor.op
        return op.sign(element) if isinstance(op, SignProduct) else element

    @property
    def input_type(self) -> DType:
        return self.x.dtype


def _bias(problem: Problem) -> tuple[str, np.ndarray]:
    """The value in the accumulators at last, and what is added to the sums until then, by channel.

    An addition of an i32 constant for each channel right after the anchor is part of the sums.
    """
    node, graph, region = problem.anchor, problem.graph, problem.region
    (sums,) = node.outputs
    convolution = isinstance(node.op, ConvolutionSums)
    channels = graph.type(sums).shape[1 if convolution else -1]
    none = np.zeros(channels, np.int64)
    follower = graph.sole_consumer(sums)
    if follower is None or follower.name not in region.names or follower.op.name != "Add":
        return sums, none
    (other,) = [v for v in follower.inputs if v != sums] or [""]
    constant = graph.constants.get(other)
    if constant is None or constant.dtype not in (np.int32, np.int64) or constant.size not in (1, channels):
        return sums, none
    rank = graph.type(sums).rank
    axis = 1 if convolution else rank - 1
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if constant.size > 1 and shape[axis] != channels:
        return sums, none
    return follower.outputs[0], np.broadcast_to(constant.reshape(-1).astype(np.int64), (channels,))


def _as_floats(problem: Problem, sums: str) -> str:
    """The name of the sums as f32, where a Cast of the region makes them; otherwise nothing."""
    cast = problem.graph.sole_consumer(sums)
    inside = cast is not None and cast.name in problem.region.names
    return cast.outputs[0] if cast is not None and inside and cast.op == Cast(DType.F32) else ""


@lru_cache(maxsize=16)
def integer_window(problem: Problem, takes_signs: bool = False, any_width: bool = False) -> IntegerWindow:
    return IntegerWindow(problem, takes_signs, any_width)
