"""The sums of integer products behind a convolution or matrix product, in the axes that kernels loop over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from edgesmith.ir import DType, Node, View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.ops.integer_products import ConvInteger, IntegerProduct
from edgesmith.ops.sign_products import SignConv, SignProduct

__all__ = ["IntegerWindow", "integer_window"]


class IntegerWindow:
    """Y = window sums of X + bias, then an epilogue; both have the axes (images, lines, columns, channels).

    A matrix product is a 1x1 window on one line, and so is a pointwise convolution whose pixels are evenly spaced. When
    ``reject`` says why there is none, nothing else is defined.

    Args:
        takes_signs: whether the kernel reads every input element through ``number``, so that only its sign may count.
    """

    x: View
    y: View
    weights: np.ndarray
    """(channels, kernel lines, kernel columns, input channels) as i16, less their zero points."""
    bias: np.ndarray
    """(channels) as i64: the bias, where the region adds one."""
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    """Lines above and columns left of the input."""
    dilations: tuple[int, int]
    group: int
    x_zero: int
    epilogue: Epilogue

    def __init__(self, problem: Problem, takes_signs: bool = False) -> None:
        self.problem = problem
        self.reject: str | None = None
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
        else:
            zero = node.inputs[2] if len(node.inputs) > 2 else ""
            self.x_zero = int(graph.constants[zero].item()) if zero else 0
            self.sums, self.bias = _bias(problem)
            if isinstance(node.op, ConvInteger | SignConv):
                self._convolution(node.op, node)
            else:
                self._product(node)
        if self.reject is None:
            self._check()

    def _convolution(self, op: ConvInteger | SignConv, node: Node) -> None:
        x, y = self.problem.view(node.inputs[0]), self.problem.view(self.problem.region.outputs[0])
        if x.rank != 4:
            self.reject = f"{x.rank - 2} spatial axes, needs 2"
            return
        window = op.window
        self.kernel, self.strides = _pair(window.kernel), _pair(window.strides)
        self.pads, self.dilations = _pair(window.pads_begin), _pair(window.dilations)
        self.group = op.group
        self.weights = self._weights(node, 0).transpose(0, 2, 3, 1)
        whole = (self.kernel, self.strides) == ((1, 1), (1, 1)) and not any(window.pads_begin + window.pads_end)
        flat = whole and None not in (_one_line(_channels_last(x)), _one_line(_channels_last(y)))

        def project(view: View) -> View | None:
            return _one_line(_channels_last(view)) if flat else _channels_last(view)

        self._place(x, project)

    def _product(self, node: Node) -> None:
        weights = self.problem.graph.constants[node.inputs[1]]
        if weights.ndim != 2 or self.problem.view(node.inputs[0]).rank < 2:
            self.reject = f"weights of shape {weights.shape}, needs a matrix"
            return
        self.kernel = self.strides = self.dilations = (1, 1)
        self.pads, self.group = (0, 0), 1
        self.weights = self._weights(node, 1).T[:, None, None, :]
        self._place(self.problem.view(node.inputs[0]), _one_image)

    def _weights(self, node: Node, axis: int) -> np.ndarray:
        graph = self.problem.graph
        weights = graph.constants[node.inputs[1]].astype(np.int16)
        zero = node.inputs[3] if len(node.inputs) > 3 else ""
        if not zero:
            return weights
        points = graph.constants[zero].astype(np.int16).reshape(-1)
        along = [-1 if a == axis and points.size > 1 else 1 for a in range(weights.ndim)]
        return weights - points.reshape(along)

    def _place(self, x: View, project: Callable[[View], View | None]) -> None:
        """Bring input and output into the axes that kernels loop over."""
        found, y = project(x), project(self.problem.view(self.problem.region.outputs[0]))
        if found is None or y is None or not y.size:
            self.reject = "rows are not evenly spaced in memory"
            return
        self.x, self.y = found, y
        self.epilogue = Epilogue(self.problem, 3, project, sums=self.sums, integers=True)
        self.reject = self.epilogue.reject

    def _check(self) -> None:
        if self.y.shape[-1] > 1 and self.y.strides[-1] != 1:
            self.reject = f"output channels have stride {self.y.strides[-1]}, vectors need 1"

    def number(self, element: str) -> str:
        """C text of what an input element counts for."""
        op = self.problem.anchor.op
        return op.sign(element) if isinstance(op, SignProduct) else element

    @property
    def input_type(self) -> DType:
        return self.x.dtype

    @property
    def channels(self) -> int:
        return self.y.shape[3]


def _bias(problem: Problem) -> tuple[str, np.ndarray]:
    """The value in the accumulators at last, and what is added to the sums until then, by channel.

    An addition of an i32 constant for each channel right after the anchor is part of the sums.
    """
    node, graph, region = problem.anchor, problem.graph, problem.region
    (sums,) = node.outputs
    convolution = isinstance(node.op, ConvInteger | SignConv)
    channels = graph.type(sums).shape[1 if convolution else -1]
    none = np.zeros(channels, np.int64)
    follower = graph.sole_consumer(sums)
    if follower is None or follower.name not in region.names or follower.op.name != "Add":
        return sums, none
    (other,) = [v for v in follower.inputs if v != sums] or [""]
    constant = graph.constants.get(other)
    if constant is None or constant.dtype != np.int32 or constant.size not in (1, channels):
        return sums, none
    rank = graph.type(sums).rank
    axis = 1 if convolution else rank - 1
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if constant.size > 1 and shape[axis] != channels:
        return sums, none
    return follower.outputs[0], np.broadcast_to(constant.reshape(-1).astype(np.int64), (channels,))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    first, second = numbers
    return first, second


def _one_image(view: View) -> View | None:
    """(1, 1, rows, channels) of a stack of matrices, if its rows are evenly spaced."""
    return view.reshape((1, 1, prod(view.shape[:-1]), view.shape[-1]))


def _channels_last(view: View) -> View:
    return view.transpose((0, 2, 3, 1))


def _one_line(view: View) -> View | None:
    """(images, lines, columns, channels) with the pixels of an image on one line, if they are evenly spaced."""
    n, h, w, c = view.shape
    return view.reshape((n, 1, h * w, c))


@lru_cache(maxsize=16)
def integer_window(problem: Problem, takes_signs: bool = False) -> IntegerWindow:
    return IntegerWindow(problem, takes_signs)
