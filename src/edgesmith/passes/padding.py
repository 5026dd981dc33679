"""Pad into the window of what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgesmith.errors import EdgesmithError
from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.conv import Conv
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pad import Pad
from edgesmith.passes.editing import merged_origin, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import is_nonnegative


@rewrite("pad-into-window")
def pad_into_window(graph: Graph) -> Iterator[Patch | Skipped]:
    """A Pad of the spatial axes goes into the pads of every Conv, ConvInteger, AveragePool or MaxPool that reads it.

    Zeros suit Conv and an AveragePool that counts its pads, and the zero point suits ConvInteger; MaxPool ignores its
    pads, so they must lose against the elements: -infinity, the lowest number, or zeros around elements that are never
    negative. All readers have to
    accept.
    """
    for pad in nodes_of(graph, "Pad"):
        assert isinstance(pad.op, Pad)
        reason = _unsuitable(graph, pad)
        readers = graph.consumers[pad.outputs[0]]
        if not reason and not readers:
            continue
        results = [_absorbed(graph, pad, pad.op, node) for node in readers] if not reason else []
        reason = reason or next((r for r in results if isinstance(r, str)), None)
        if reason:
            yield Skipped(pad.name, reason)
        else:
            yield from (r for r in results if isinstance(r, Patch))


def _unsuitable(graph: Graph, pad: Node) -> str | None:
    op = pad.op
    assert isinstance(op, Pad)
    if op.mode != "constant":
        return f"a window pads with a constant, not by {op.mode}"
    if min((*op.begin, *op.end), default=0) < 0:
        return "it removes elements"
    if any((*op.begin[:2], *op.end[:2])):
        return "it pads the batch or the channels"
    return "it is a graph output" if pad.outputs[0] in graph.outputs else None


def _absorbed(graph: Graph, pad: Node, op: Pad, node: Node) -> Patch | str:
    if not isinstance(node.op, Conv | ConvInteger | AveragePool | MaxPool) or node.inputs[0] != pad.outputs[0]:
        return f"{node.name} ({node.op.name}) has no window for it"
    x = pad.inputs[0]
    value = float(op.value) if op.value is not None else 0.0
    reason = _different(graph, x, value, node)
    if reason:
        return f"{node.name}: {reason}"
    window = node.op.window
    begin = tuple(a + b for a, b in zip(window.pads_begin, op.begin[2:], strict=True))
    end = tuple(a + b for a, b in zip(window.pads_end, op.end[2:], strict=True))
    wide = any(p >= k for p, k in zip((*begin, *end), window.kernel * 2, strict=True))
    if not isinstance(node.op, Conv | ConvInteger) and (wide or set(window.dilations) != {1}):
        return f"{node.name}: a whole window might lie in the padding"
    new = replace(node.op, window=replace(window, pads_begin=begin, pads_end=end))
    if isinstance(new, AveragePool):
        new = replace(new, count_include_pad=1)
    types = [graph.type(x), *(graph.type(v) if v else None for v in node.inputs[1:])]
    try:
        same = new.infer(types) == graph.output_types(node)
    except EdgesmithError as error:
        return str(error)
    if not same:
        return f"{node.name}: the output would have another shape"
    described = replace(node, origin=merged_origin((pad, node)))
    return substitute("pad-into-window", described, new, (x, *node.inputs[1:]))


def _different(graph: Graph, x: str, value: float, node: Node) -> str | None:
    """Why the operator's own padding would not mean the same."""
    op = node.op
    assert isinstance(op, Conv | ConvInteger | AveragePool | MaxPool)
    window = op.window
    if window.ceil:
        return "its output size is rounded up, which depends on where the padding belongs"
    if isinstance(op, MaxPool):
        if op.indices:
            return "its indices count the padding"
        dtype = graph.type(x).dtype
        if value <= dtype.lowest or (value == 0 and is_nonnegative(graph, x)):
            return None
        return f"it ignores its pads, but {value:g} may be the largest element"
    zero = 0
    if isinstance(op, ConvInteger) and len(node.inputs) > 2 and node.inputs[2]:
        if node.inputs[2] not in graph.constants:
            return "its zero point is computed at run time"
        zero = int(graph.constants[node.inputs[2]].item())
    if value != zero:
        return f"it pads with {zero}, not with {value:g}"
    own = any((*window.pads_begin, *window.pads_end))
    if isinstance(op, AveragePool) and own and not op.count_include_pad:
        return "it does not count its own pads, but would have to count these"
    return None
