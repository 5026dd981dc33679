"""Concat, Split, Slice and Gather at constant indices, seen together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.concat import Concat
from edgesmith.ops.gather import Take
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.passes.editing import Names, bypass, nodes_of, substitute, supersede
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("nested-concat")
def flatten_concats(graph: Graph) -> Iterator[Patch | Skipped]:
    """A Concat that only another Concat of the same axis reads, joins its inputs there; empty inputs go."""
    for node in nodes_of(graph, "Concat"):
        assert isinstance(node.op, Concat)
        inputs: list[str] = []
        absorbed: list[Node] = []
        for value in node.inputs:
            inner = graph.producer(value)
            if graph.type(value).shape[node.op.axis] == 0:
                continue
            if inner is None or not isinstance(inner.op, Concat) or inner.op.axis != node.op.axis:
                inputs.append(value)
            elif graph.sole_consumer(value) is not node:
                inputs.append(value)
                yield Skipped(node.name, f"{inner.name} is read by others too")
            else:
                inputs += inner.inputs
                absorbed.append(inner)
        if inputs and tuple(inputs) != node.inputs:
            yield substitute("nested-concat", node, node.op, inputs, absorbed=absorbed)


@rewrite("split-and-concat")
def cancel_split_and_concat(graph: Graph) -> Iterator[Patch | Skipped]:
    """Concat of all parts of a Split gives the whole; Split of a Concat along its seams gives the inputs."""
    rule = "split-and-concat"
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            split = graph.producer(node.inputs[0])
            whole = split is not None and isinstance(split.op, Split) and split.op.axis == node.op.axis
            if whole and split is not None and node.inputs == split.outputs:
                patch = bypass(graph, rule, node, split.inputs[0])
                if patch is not None:
                    yield patch
        elif isinstance(node.op, Split):
            concat = graph.producer(node.inputs[0])
            if concat is None or not isinstance(concat.op, Concat) or concat.op.axis != node.op.axis:
                continue
            lengths = tuple(graph.type(v).shape[node.op.axis] for v in concat.inputs)
            if lengths != node.op.lengths:
                yield Skipped(node.name, f"{concat.name} joins {lengths}, it splits {node.op.lengths}")
                continue
            patch = supersede(graph, rule, node, dict(zip(node.outputs, concat.inputs, strict=True)))
            if patch is not None:
                yield patch


@rewrite("slice-of")
def shorten_slices(graph: Graph) -> Iterator[Patch | Skipped]:
    """Slice of a Slice is one Slice; Slice of a Concat inside one of its inputs is a Slice of that input."""
    for node in nodes_of(graph, "Slice"):
        assert isinstance(node.op, Slice)
        inner = graph.producer(node.inputs[0])
        if inner is None:
            continue
        if isinstance(inner.op, Slice):
            op, below = node.op, inner.op
            starts = [b + a * k for a, b, k in zip(op.starts, below.starts, below.steps, strict=True)]
            steps = [a * b if n > 1 else 1 for a, b, n in zip(op.steps, below.steps, op.lengths, strict=True)]
            yield substitute("slice-of", node, Slice(tuple(starts), op.lengths, tuple(steps)), inner.inputs)
        elif isinstance(inner.op, Concat):
            part = _inside(graph, node.op, inner, inner.op.axis)
            if part is None:
                yield Skipped(node.name, f"it takes from several inputs of {inner.name}")
            else:
                yield substitute("slice-of", node, part[0], (part[1],))


def _inside(graph: Graph, op: Slice, concat: Node, axis: int) -> tuple[Slice, str] | None:
    """The slice of one input of a Concat that ``op`` takes, and that input."""
    if not op.lengths[axis]:
        return None
    ends = op.starts[axis], op.starts[axis] + (op.lengths[axis] - 1) * op.steps[axis]
    lengths = [graph.type(v).shape[axis] for v in concat.inputs]
    for value, length, after in zip(concat.inputs, lengths, accumulate(lengths), strict=True):
        before = after - length
        if before <= min(ends) and max(ends) < after:
            starts = tuple(s - before if a == axis else s for a, s in enumerate(op.starts))
            return Slice(starts, op.lengths, op.steps), value
    return None


@rewrite("gather-to-slice")
def gather_to_slice(graph: Graph) -> Iterator[Patch | Skipped]:
    """Gather at constant indices in arithmetic progression becomes a Slice, and a Reshape if they are not a row."""
    rule = "gather-to-slice"
    for node in nodes_of(graph, "Gather"):
        op = node.op
        if not isinstance(op, Take):
            yield Skipped(node.name, "its indices are computed at run time or irregular")
            continue
        step = _step(op.places)
        if step is None:
            yield Skipped(node.name, "its indices are no arithmetic progression")
            continue
        shape = graph.type(node.inputs[0]).shape
        starts, lengths, steps = [0] * len(shape), list(shape), [1] * len(shape)
        starts[op.axis], lengths[op.axis], steps[op.axis] = op.places[0], len(op.places), step
        slice_ = Slice(tuple(starts), tuple(lengths), tuple(steps))
        if len(op.shape) == 1:
            yield substitute(rule, node, slice_, node.inputs)
            continue
        names = Names(graph)
        taken = names(f"{node.name}:taken")
        before = Node(names(f"{node.name}:slice"), slice_, node.inputs, (taken,), node.origin)
        yield substitute(rule, node, Reshape(graph.type(node.outputs[0]).shape), (taken,), before=(before,))


def _step(places: Sequence[int]) -> int | None:
    """The step between consecutive numbers, none of which comes twice; None where it varies."""
    if len(places) < 2:
        return 1 if places else None
    steps = {b - a for a, b in pairwise(places)}
    return steps.pop() if len(steps) == 1 and 0 not in steps else None


@rewrite("reshape-of-reshape")
def merge_reshapes(graph: Graph) -> Iterator[Patch | Skipped]:
    """A Reshape of a Reshape reads what the first one reads."""
    for node in nodes_of(graph, "Reshape"):
        inner = graph.producer(node.inputs[0])
        if inner is not None and isinstance(inner.op, Reshape):
            yield substitute("reshape-of-reshape", node, node.op, inner.inputs)
