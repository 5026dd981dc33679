"""Common sub-expression elimination."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.cast import widens_half
from edgesmith.ops.identity import Identity
from edgesmith.passes.editing import supersede
from edgesmith.passes.engine import Skipped, rewrite

SAMPLES = 16


@rewrite("common-subexpressions")
def merge_common_subexpressions(graph: Graph) -> Iterator[Patch | Skipped]:
    """Nodes that apply equal operators to equal values are computed once; equal constants are stored once.

    Conversions of fp16 to f32 stay apart: see ``half_movement``.
    """
    same = _equal_constants(graph)
    first: dict[object, Node] = {}
    removed: set[str] = set()
    rename = dict(same)
    outputs: list[tuple[Node, Node]] = []
    for node in graph.nodes:
        if isinstance(node.op, Identity) or widens_half(graph, node):
            continue
        inputs = tuple(same.get(v, v) for v in node.inputs)
        # The text tells apart what compares equal, such as 0.0 and -0.0.
        key = (type(node.op), node.op, str(node.op), inputs, graph.output_types(node))
        earlier = first.setdefault(key, node)
        if earlier is node:
            continue
        same.update(zip(node.outputs, earlier.outputs, strict=True))
        if any(v in graph.outputs for v in node.outputs):
            outputs.append((node, earlier))
        else:
            removed.add(node.name)
            rename.update(zip(node.outputs, earlier.outputs, strict=True))
    if removed or rename:
        yield Patch("common-subexpressions", frozenset(removed), rename=rename)
        return
    for node, earlier in outputs:
        patch = supersede(graph, "common-subexpressions", node, dict(zip(node.outputs, earlier.outputs, strict=True)))
        if patch is not None:
            yield patch


def _equal_constants(graph: Graph) -> dict[str, str]:
    """Constant -> an equal one that comes earlier."""
    buckets: dict[tuple[object, ...], list[str]] = {}
    same: dict[str, str] = {}
    for value, array in graph.constants.items():
        flat = array.reshape(-1)
        sample = flat[:: max(1, flat.size // SAMPLES)][:SAMPLES].tobytes()
        bucket = buckets.setdefault((graph.type(value), sample), [])
        equal = next((v for v in bucket if _same_bytes(graph.constants[v], array)), None)
        if equal is None or value in graph.outputs:
            bucket.append(value)
        else:
            same[value] = equal
    return same


def _same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    if a is b:
        return True
    words = np.dtype(f"u{a.itemsize}")
    return bool(np.array_equal(np.ascontiguousarray(a).view(words), np.ascontiguousarray(b).view(words)))
