"""Transposed convolutions become convolutions whose channels are then spread over pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import DType, Graph, Node, Patch
from edgesmith.ops.conv import Conv
from edgesmith.ops.conv_transpose import ConvTranspose
from edgesmith.ops.depth_to_space import DepthToSpace
from edgesmith.ops.slice import Slice
from edgesmith.ops.window import Window
from edgesmith.passes.editing import Names, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("transposed-convolution")
def to_convolution(graph: Graph) -> Iterator[Patch | Skipped]:
    """ConvTranspose with stride s as s x s ordinary convolutions side by side, DepthToSpace, and a cut at the pads.

    Output pixel o with o + pad = q s + r gathers the taps k = r + s t from the inputs q - t: for each phase r a
    convolution of ceil(kernel / s) taps (Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
    2016). The products are the same ones; taps that a phase lacks are zeros.
    """
    for node in nodes_of(graph, "ConvTranspose"):
        reason = _reject(graph, node)
        if reason:
            yield Skipped(node.name, reason)
        else:
            yield _rewritten(graph, node)


def _reject(graph: Graph, node: Node) -> str | None:
    op = node.op
    assert isinstance(op, ConvTranspose)
    window = op.window
    if any(v not in graph.constants for v in node.read[1:]):
        return "its weights are computed at run time"
    if graph.type(node.inputs[0]).dtype is not DType.F32 or len(window.kernel) != 2:
        return f"{graph.type(node.inputs[0])}, not a float image"
    if op.group != 1 or set(window.dilations) != {1} or len(set(window.strides)) != 1:
        return f"{op.group} groups, {window}: needs one group, no dilation and equal strides"
    if any(n < 0 for n in _pads_end(graph, node)):
        return f"{window}: it leaves out whole input pixels"
    return None


def _phases(graph: Graph, node: Node) -> tuple[int, ...]:
    """Extents of the convolution's output: how many pixels each phase has."""
    assert isinstance(node.op, ConvTranspose)
    window, out = node.op.window, graph.type(node.outputs[0]).shape[2:]
    return tuple(-(-(n + p) // s) for n, p, s in zip(out, window.pads_begin, window.strides, strict=True))


def _pads_end(graph: Graph, node: Node) -> tuple[int, ...]:
    spatial = graph.type(node.inputs[0]).shape[2:]
    return tuple(q - n for q, n in zip(_phases(graph, node), spatial, strict=True))


def _rewritten(graph: Graph, node: Node) -> Patch:
    assert isinstance(node.op, ConvTranspose)
    window, names = node.op.window, Names(graph)
    stride = window.strides[0]
    weights = graph.constants[node.inputs[1]]
    channels, filters = weights.shape[:2]
    taps = tuple(-(-k // stride) for k in window.kernel)
    whole = np.zeros((channels, filters, taps[0] * stride, taps[1] * stride), weights.dtype)
    whole[:, :, : window.kernel[0], : window.kernel[1]] = weights
    # (channel, filter, tap, phase, tap, phase) -> (phase, phase, filter, channel, tap, tap), taps in reverse
    split = whole.reshape(channels, filters, taps[0], stride, taps[1], stride)[:, :, ::-1, :, ::-1]
    packed = np.ascontiguousarray(split.transpose(3, 5, 1, 0, 2, 4)).reshape(-1, channels, *taps)
    constants = {names(f"{node.name}:weights"): packed}
    if len(node.inputs) > 2 and node.inputs[2]:
        constants[names(f"{node.name}:bias")] = np.tile(graph.constants[node.inputs[2]], stride * stride)
    ones = (1, 1)
    begin = tuple(t - 1 for t in taps)
    conv = Conv(Window(taps, ones, begin, _pads_end(graph, node), ones))
    operands = (node.inputs[0], *constants)
    out = graph.type(node.outputs[0])
    size = tuple(q * stride for q in _phases(graph, node))
    cut = size != out.shape[2:]
    if stride == 1 and not cut:
        return substitute("transposed-convolution", node, conv, operands, constants=constants)
    before: list[Node] = []

    def then(op: Conv | DepthToSpace, inputs: tuple[str, ...], label: str) -> str:
        value = names(f"{node.outputs[0]}:{label}")
        before.append(Node(names(f"{node.name}:{label}"), op, inputs, (value,), node.origin))
        return value

    value = then(conv, operands, "phases")
    spread = DepthToSpace(stride, "DCR")
    if not cut:
        return substitute("transposed-convolution", node, spread, (value,), before=before, constants=constants)
    if stride > 1:
        value = then(spread, (value,), "spread")
    starts = (0, 0, *window.pads_begin)
    slice_ = Slice(starts, out.shape, (1,) * 4)
    return substitute("transposed-convolution", node, slice_, (value,), before=before, constants=constants)
