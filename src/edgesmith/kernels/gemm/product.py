"""The matrix product behind a convolution with a 1x1 kernel, a Gemm or a MatMul with constant weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from edgesmith.ir import DType, Node, View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.cycles import memory_ns
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.gemm.blocking import Blocking, Extents
from edgesmith.kernels.tile import TileShape
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

__all__ = ["Product", "split_product"]


def _merged(view: View, apart: int) -> View | None:
    """A view with its axes merged to rows, but for the first ``apart`` and the last."""
    rows = prod(view.shape[apart:-1])
    return view.reshape((*view.shape[:apart], rows, view.shape[-1])) if view.size else None


class Product:
    """The product Y (rows, channels) = X (rows, steps) W' + bias behind a problem.

    When ``reject`` says why there is none, nothing else is defined.

    Args:
        apart: leading axes of the output that stay apart from the rows, because rows of one slice are evenly spaced in
            memory where those of the whole are not; ``x`` and ``y`` then begin with these axes.
        gathered: the rows of X need not be evenly spaced; ``x`` is then None where they are not.
    """

    weights: np.ndarray
    """(channels, steps)."""
    bias: np.ndarray | None
    source: View
    """X with the axes that rows run over, as they come: (..., steps)."""
    y: View
    epilogue: Epilogue

    def __init__(self, problem: Problem, *, apart: int = 0, gathered: bool = False) -> None:
        self.problem, self.apart = problem, apart
        self.reject: str | None = None
        node, graph = problem.anchor, problem.graph
        op = node.op
        if problem.target.isa is None:
            self.reject = "needs vectors, the target is portable C"
        elif not isinstance(op, Conv | Gemm | MatMul):
            self.reject = f"{op.name} is not a matrix product"
        elif any(v not in graph.constants for v in node.read[1:]) or node.inputs[0] in graph.constants:
            self.reject = "weights are computed at run time"
        elif problem.type(node.inputs[0]).dtype is not DType.F32:
            self.reject = f"{problem.type(node.inputs[0]).dtype}, computes f32"
        elif isinstance(op, Conv):
            self._conv(op, node)
        elif isinstance(op, Gemm):
            self._gemm(op, node)
        else:
            self._matmul(node)
        if self.reject is None:
            self._views(_channels_last if isinstance(op, Conv) else _as_it_is, gathered)

    def _conv(self, op: Conv, node: Node) -> None:
        window = op.window
        if any(k != 1 for k in window.kernel):
            self.reject = f"{window} kernel, needs 1x1"
        elif any(window.pads_begin + window.pads_end):
            self.reject = f"{window}: pads"
        elif op.group != 1:
            self.reject = f"{op.group} groups"
        else:
            weights = self._constant(node, 1)
            assert weights is not None
            self.weights, self.bias = weights.reshape(weights.shape[:2]), self._constant(node, 2)
            x = self.problem.view(node.inputs[0])
            reached = (*x.shape[:2], *self.problem.type(node.outputs[0]).shape[2:])
            self.source = _channels_last(x.slice((0,) * x.rank, reached, (1, 1, *window.strides)))

    def _gemm(self, op: Gemm, node: Node) -> None:
        weights, bias = self._constant(node, 1), self._constant(node, 2)
        assert weights is not None
        channels = weights.shape[0 if op.transB else 1]
        if bias is not None and bias.size > 1 and bias.shape[-1:] != (bias.size,):
            self.reject = f"C of shape {bias.shape} differs from row to row"
        else:
            weights = weights if op.transB else weights.T
            self.weights = weights if op.alpha == 1 else np.float32(op.alpha) * weights
            flat = None if bias is None else np.float32(op.beta) * bias.reshape(-1)
            self.bias = None if flat is None else np.broadcast_to(flat, (channels,))
            x = self.problem.view(node.inputs[0])
            self.source = x.transpose((1, 0)) if op.transA else x

    def _matmul(self, node: Node) -> None:
        weights = self._constant(node, 1)
        assert weights is not None
        if weights.ndim != 2:
            self.reject = f"weights of shape {weights.shape}, needs a matrix"
        elif self.problem.type(node.inputs[0]).rank < 2:
            self.reject = "the left operand is a vector"
        else:
            self.weights, self.bias = weights.T, None
            self.source = self.problem.view(node.inputs[0])

    def _constant(self, node: Node, index: int) -> np.ndarray | None:
        name = node.inputs[index] if index < len(node.inputs) else ""
        return self.problem.graph.constants[name] if name else None

    def _views(self, order: Callable[[View], View], gathered: bool) -> None:
        problem, apart = self.problem, self.apart

        def project(view: View) -> View | None:
            return _merged(order(view), apart)

        y = project(problem.view(problem.region.outputs[0]))
        self._x = _merged(self.source, apart)
        if y is None or (self._x is None and not (gathered and self.source.size)):
            self.reject = "rows are not evenly spaced in memory"
            return
        if y.shape[-1] > 1 and y.strides[-1] != 1:
            self.reject = f"output channels have stride {y.strides[-1]}, vectors need 1"
            return
        self.y = y
        self.epilogue = Epilogue(problem, apart + 1, project)
        self.reject = self.epilogue.reject

    @property
    def even(self) -> bool:
        """Whether the rows of X are evenly spaced."""
        return self._x is not None

    @property
    def x(self) -> View:
        """X as (rows, steps) behind the axes that stay apart; only where its rows are evenly spaced."""
        assert self._x is not None
        return self._x

    @property
    def slices(self) -> tuple[int, ...]:
        """Extents of the axes that stay apart."""
        return self.y.shape[: self.apart]

    @property
    def rows(self) -> int:
        return self.y.shape[-2]

    @property
    def channels(self) -> int:
        return self.y.shape[-1]

    @property
    def steps(self) -> int:
        return self.source.shape[-1]

    @cached_property
    def extents(self) -> Extents:
        """The sizes that decide how the product is blocked."""
        return Extents(
            self.problem.target,
            self.rows,
            self.channels,
            self.steps,
            self.x.strides[-2] if self.even else None,
            self.source.strides[-1] if self.steps > 1 else 1,
            prod(self.slices),
        )

    def nanoseconds(self, how: Blocking | TileShape) -> float:
        """Predicted time on one core: arithmetic or the weights' way from memory, whichever binds.

        Args:
            how: the blocking, or a register tile that goes through the whole reduction in one pass.
        """
        blocking = how if isinstance(how, Blocking) else Blocking.whole(how, self.extents)
        streams = 1 if self.rows <= blocking.tile.rows else 4
        target = self.problem.target
        compute = blocking.cycles(self.extents) / target.gigahertz
        memory = memory_ns(self.weights.nbytes, target, streams)
        return max(compute, memory) + 0.2 * min(compute, memory)


def _channels_last(view: View) -> View:
    """A convolution's view (N, C, ...) as (N, ..., C)."""
    return view.transpose((0, *range(2, view.rank), 1))


def _as_it_is(view: View) -> View:
    return view


@lru_cache(maxsize=8)
def split_product(problem: Problem) -> Product:
    """The product with as few axes apart as the places of the output and the epilogue's operands allow."""
    rank = problem.type(problem.region.outputs[0]).rank if problem.region.outputs else 0
    first = Product(problem, gathered=True)
    found = first
    for apart in range(1, rank - 1):
        if found.reject is None:
            return found
        found = Product(problem, apart=apart, gathered=True)
    return found if found.reject is None else first
