"""What the convolution kernels without a shortcut of their own need to know about a problem."""

from __future__ import annotations

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import View
from edgesmith.kernels.base import Problem, Reject
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.tile import Panels, pack, pack_bias
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window

__all__ = ["Convolution", "reject"]


def reject(problem: Problem) -> Reject | None:
    """Why there is no ``Convolution`` for a problem."""
    reason = conv2d_reject(problem)
    if reason is not None:
        return reason
    epilogue = Epilogue(problem)
    return Reject(epilogue.reject) if epilogue.reject else None


class Convolution:
    """A 2-D f32 convolution with constant weights and channels innermost in the output, and what follows it."""

    x: View
    """(N, C, H, W)."""
    y: View
    window: Window
    weights: np.ndarray
    """(filters, C / group, kh, kw)."""
    bias: np.ndarray | None

    def __init__(self, problem: Problem) -> None:
        node, graph = problem.anchor, problem.graph
        assert isinstance(node.op, Conv)
        self.problem = problem
        self.x, self.y = problem.view(node.inputs[0]), problem.view(problem.region.outputs[0])
        self.window, self.group = node.op.window, node.op.group
        self.weights = graph.constants[node.inputs[1]]
        self.bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        self.epilogue = Epilogue(problem)

    @property
    def batch(self) -> int:
        return self.y.shape[0]

    @property
    def in_channels(self) -> int:
        """Of one group."""
        return int(self.weights.shape[1])

    @property
    def out_channels(self) -> int:
        """Of one group."""
        return int(self.weights.shape[0]) // self.group

    @property
    def taps(self) -> int:
        return self.window.kernel[0] * self.window.kernel[1]

    @property
    def steps(self) -> int:
        """Length of the reduction."""
        return self.in_channels * self.taps

    def packed_weights(self, panels: Panels) -> np.ndarray:
        """The panels of all groups (see ``tile.pack``); the reduction runs over kernel rows, columns, channels."""
        ordered = self.weights.transpose(0, 2, 3, 1).reshape(self.weights.shape[0], -1)
        return np.concatenate([pack(part, panels) for part in np.split(ordered, self.group)])

    def packed_bias(self, panels: Panels) -> np.ndarray:
        parts = [None] * self.group if self.bias is None else np.split(self.bias, self.group)
        return np.concatenate([pack_bias(part, panels) for part in parts])

    def write_panel(self, w: Writer, panels: Panels) -> None:
        """Write ``wp`` and ``bp``, the weights and the bias of the C variables ``group`` and ``panel``."""
        vectors = -(-self.out_channels // panels.lanes)
        width = panels.vectors * panels.lanes
        group = f"(ptrdiff_t)group * {vectors * panels.lanes * self.steps}"
        w.line(f"const float *const wp = weights + {group} + (ptrdiff_t)panel * {width * self.steps};")
        w.line(f"const float *const bp = bias + group * {vectors * panels.lanes} + panel * {width};")

    def label(self, algorithm: str, schedule: str) -> str:
        """Middle part of a function's name."""
        kind = "x".join(map(str, self.window.kernel))
        return f"conv{kind}_{algorithm}_f32{self.epilogue.label}_{schedule}"
