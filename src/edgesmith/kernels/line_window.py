"""A convolution or matrix product with constant weights, in the axes that kernels over packed input lines loop over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from edgesmith.ir import Node, View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.ops.window import Window

__all__ = ["LineWindow"]


class LineWindow(ABC):
    """Y = window sums of X + bias, then an epilogue; both have the axes (images, lines, columns, channels).

    A matrix product is a 1x1 window on one line, and so is a pointwise convolution whose pixels are evenly spaced. When
    ``reject`` says why there is none, nothing else is defined.
    """

    x: View
    y: View
    weights: np.ndarray
    """(channels, kernel lines, kernel columns, input channels)."""
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    """Lines above and columns left of the input."""
    dilations: tuple[int, int]
    group: int
    x_zero: int = 0
    """What padding counts as, in the input's type."""
    sums: str
    """The value in the accumulators at last."""
    epilogue: Epilogue

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.reject: str | None = None

    @abstractmethod
    def constant_weights(self, axis: int) -> np.ndarray:
        """The weights as they are multiplied, with the output channels along ``axis``."""

    def number(self, element: str) -> str:
        """C text of what an input element counts for."""
        return element

    @property
    def input(self) -> str:
        """The value in memory that is multiplied."""
        return self.problem.anchor.inputs[0]

    @property
    def channels(self) -> int:
        return self.y.shape[3]

    def convolution(self, window: Window, group: int) -> None:
        x, y = self.problem.view(self.input), self.problem.view(self.problem.region.outputs[0])
        if x.rank != 4:
            self.reject = f"{x.rank - 2} spatial axes, needs 2"
            return
        self.kernel, self.strides = _pair(window.kernel), _pair(window.strides)
        self.pads, self.dilations = _pair(window.pads_begin), _pair(window.dilations)
        self.group = group
        self.weights = self.constant_weights(0).transpose(0, 2, 3, 1)
        whole = (self.kernel, self.strides) == ((1, 1), (1, 1)) and not any(window.pads_begin + window.pads_end)
        flat = whole and None not in (_one_line(_channels_last(x)), _one_line(_channels_last(y)))

        def project(view: View) -> View | None:
            return _one_line(_channels_last(view)) if flat else _channels_last(view)

        self._place(x, project)

    def product(self, node: Node, axis: int = 1) -> None:
        """Args: axis: along which the output channels lie in the weights."""
        weights = self.problem.graph.constants[node.inputs[1]]
        if weights.ndim != 2 or self.problem.view(self.input).rank < 2:
            self.reject = f"weights of shape {weights.shape}, needs a matrix"
            return
        self.kernel = self.strides = self.dilations = (1, 1)
        self.pads, self.group = (0, 0), 1
        channels_first = np.moveaxis(self.constant_weights(axis), axis, 0)
        self.weights = channels_first[:, None, None, :]
        self._place(self.problem.view(self.input), _one_image)

    def _place(self, x: View, project: Callable[[View], View | None]) -> None:
        """Bring input and output into the axes that kernels loop over."""
        found, y = project(x), project(self.problem.view(self.problem.region.outputs[0]))
        if found is None or y is None or not y.size:
            self.reject = "rows are not evenly spaced in memory"
            return
        self.x, self.y = found, y
        self.epilogue = Epilogue(self.problem, 3, project, sums=self.sums, integers=True)
        self.reject = self.epilogue.reject
        if self.reject is None and self.y.shape[-1] > 1 and self.y.strides[-1] != 1:
            self.reject = f"output channels have stride {self.y.strides[-1]}, vectors need 1"


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
