"""The compiled program's numbers, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from edgesmith.compress.qat.convert import convert
from edgesmith.compress.qat.exporting import on_cpu
from edgesmith.compress.qat.quantized_module import QuantizedModule
from edgesmith.errors import BadInput
from edgesmith.ir import Graph, Node, Op
from edgesmith.ops.conv import Conv
from edgesmith.ops.integer_products import ConvInteger, ConvolutionSums
from edgesmith.ops.sign_products import SignConv
from edgesmith.passes import optimize

__all__ = ["Simulation", "simulate"]

_EXACT = 1 << 24


def simulate(module: QuantizedModule, example: Any = None) -> Simulation:
    """What the program that ``convert`` and ``edgesmith.compile`` make of a prepared module computes.

    Args:
        example: inputs whose batch is evaluated at once (default: the one that the module was prepared with).

    Raises:
        BadInput: the module is not what ``prepare`` gave.
        ModelError: PyTorch cannot export the module.
    """
    graph, _ = optimize(convert(module, example).graph)
    return Simulation(graph)


class Simulation:
    """Evaluates a graph of integer layers, whose integers are those of the compiled program, each of them.

    Layers in floats are computed as PyTorch or numpy do, up to rounding.

    Args:
        graph: optimised.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        kind = graph.type(graph.inputs[0])
        self._rows = kind.shape[0] if kind.rank else 1

    def __call__(self, x: Any) -> Tensor | tuple[Tensor, ...]:
        """The outputs for any number of samples along the first axis of the inputs.

        Raises:
            BadInput: the inputs do not fit.
        """
        given = [t.numpy() for t in on_cpu(x)]
        if len(given) != len(self.graph.inputs):
            raise BadInput(f"{len(given)} inputs, the network has {len(self.graph.inputs)}", where="simulate")
        count = given[0].shape[0]
        parts = []
        for first in range(0, count, self._rows):
            rows = [_filled(a[first : first + self._rows], self._rows) for a in given]
            values = self.values(dict(zip(self.graph.inputs, rows, strict=True)))
            parts.append([values[v] for v in self.graph.outputs])
        found = tuple(torch.from_numpy(np.concatenate(p)[:count]) for p in zip(*parts, strict=True))
        return found[0] if len(found) == 1 else found

    def values(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value for one batch of inputs, by name."""
        values: dict[str, np.ndarray] = {**self.graph.constants, **feeds}
        with np.errstate(all="ignore"):
            for node in self.graph.nodes:
                operands = [values[v] if v else None for v in node.inputs]
                values.update(zip(node.outputs, _computed(node, operands), strict=True))
        return values


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """A whole batch, repeating the last row."""
    missing = count - rows.shape[0]
    return np.ascontiguousarray(np.concatenate([rows, np.repeat(rows[-1:], missing, 0)]) if missing else rows)


def _computed(node: Node, operands: list[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    for kind, compute in _IN_TORCH.items():
        if isinstance(node.op, kind) and (found := compute(node.op, operands)) is not None:
            return (found,)
    return node.op.reference(*operands)


def _conv_integer(op: Op, operands: list[np.ndarray | None]) -> np.ndarray | None:
    assert isinstance(op, ConvInteger)
    x, w, x_zero, w_zero = (*operands, None, None)[:4]
    assert x is not None and w is not None
    x32 = x.astype(np.float32) - (0 if x_zero is None else np.float32(x_zero.item()))
    w32 = w.astype(np.float32)
    if w_zero is not None:
        w32 = w32 - w_zero.astype(np.float32).reshape(-1, *(1,) * (w.ndim - 1))
    sums = _sums(op, x32, w32)
    return None if sums is None else sums.astype(op.sums.numpy)


def _sign_conv(op: Op, operands: list[np.ndarray | None]) -> np.ndarray | None:
    assert isinstance(op, SignConv)
    x, w = operands
    assert x is not None and w is not None
    sums = _sums(op, op.signs(x).astype(np.float32), w.astype(np.float32))
    return None if sums is None else sums.astype(op.sums.numpy)


def _sums(op: ConvolutionSums, x: np.ndarray, w: np.ndarray) -> np.ndarray | None:
    """Exact sums of products of integers."""
    largest = float(np.abs(x).max(initial=0)) * float(np.abs(w).reshape(w.shape[0], -1).sum(1).max(initial=0))
    kind = np.float32 if largest < _EXACT else np.float64
    return _convolved(op.floats, x.astype(kind, copy=False), w.astype(kind, copy=False))


def _conv(op: Op, operands: list[np.ndarray | None]) -> np.ndarray | None:
    assert isinstance(op, Conv)
    x, w, bias = (*operands, None)[:3]
    assert x is not None and w is not None
    y = _convolved(op, x, w)
    return y if y is None or bias is None else y + bias.reshape(-1, *(1,) * (x.ndim - 2))


def _convolved(op: Conv, x: np.ndarray, w: np.ndarray) -> np.ndarray | None:
    window = op.window
    if x.ndim != 4:
        return None
    pads = [p for axis in (1, 0) for p in (window.pads_begin[axis], window.pads_end[axis])]
    padded = functional.pad(torch.from_numpy(np.ascontiguousarray(x)), pads)
    found = functional.conv2d(
        padded, torch.from_numpy(np.array(w)), None, window.strides, 0, window.dilations, op.group
    )
    return found.numpy()


_IN_TORCH: dict[type[Op], Callable[[Op, list[np.ndarray | None]], np.ndarray | None]] = {
    ConvInteger: _conv_integer,
    SignConv: _sign_conv,
    Conv: _conv,
}
