"""Finding a plan that works in a given amount of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from edgesmith.ir import Graph
from edgesmith.plan.fit import demands, ram_bytes
from edgesmith.plan.patches import Box, Head, Patching, head_of
from edgesmith.plan.plan import Plan
from edgesmith.plan.step import Step

__all__ = ["fit"]

GRIDS = ((2, 1), (3, 1), (4, 1), (6, 1), (8, 1), (12, 1), (16, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6))
"""Rows and columns of patches. Bands as wide as the image need the least code: their sides meet no other patch."""
PLANS = 4
"""How many are planned of those that promise to fit."""


@dataclass(frozen=True)
class _Estimate:
    """Args: extra: elements that are computed again, as a share of all."""

    patching: Patching
    nbytes: int
    extra: float


def fit(plan_of: Callable[[Patching | None], Plan], limit: int) -> Plan:
    """The first plan that needs no more than ``limit`` bytes, or the one that needs least.

    Without patches where that fits; otherwise with those that compute the least twice.

    Args:
        plan_of: makes a plan, with something computed patch by patch.
        limit: bytes for values, scratch memory, inputs and outputs; 0: any number.
    """
    whole = plan_of(None)
    if not limit or ram_bytes(whole) <= limit:
        return whole
    estimates = list(_estimates(whole))
    promising = sorted((e for e in estimates if e.nbytes <= limit), key=lambda e: (e.extra, e.nbytes))
    promising = promising or sorted(estimates, key=lambda e: (e.nbytes, e.extra))
    best, tried = whole, [f"whole images: {ram_bytes(whole)} bytes"]
    for estimate in promising[:PLANS]:
        plan = plan_of(estimate.patching)
        tried.append(f"{estimate.patching}: {ram_bytes(plan)} bytes, {estimate.extra:.0%} computed twice")
        best = min(best, plan, key=ram_bytes)
        if ram_bytes(plan) <= limit:
            break
    return replace(best, tried=tuple(tried))


def _estimates(plan: Plan) -> Iterator[_Estimate]:
    """What patches up to any value that a step writes would need, by the steps of the plan without patches."""
    needs = [d.nbytes for d in demands(plan)]
    outside = sum(plan.graph.type(v).nbytes for v in (*plan.graph.inputs, *plan.graph.outputs))
    for step in plan.steps:
        (value, *more) = step.region.outputs
        head = None if more else head_of(plan.graph, value)
        if head is None:
            continue
        inside = {n.name for n in head.nodes}
        steps = [s for s in plan.steps if all(n.name in inside for n in s.region.nodes)]
        later = max((n for s, n in zip(plan.steps, needs, strict=True) if s not in steps), default=0)
        height, width = plan.graph.type(value).shape[2:]
        for rows, columns in GRIDS:
            if rows > height or columns > width or rows * columns < 2:
                continue
            patching = Patching(value, rows, columns)
            nbytes, extra = _of_head(plan.graph, head, steps, patching)
            yield _Estimate(patching, max(nbytes + plan.graph.type(value).nbytes + outside, later), extra)


def _of_head(graph: Graph, head: Head, steps: Sequence[Step], patching: Patching) -> tuple[int, float]:
    """Memory of one patch at most, beside what the patches fill, and the share that is computed twice."""
    most, computed = 0, 0
    for box in patching.boxes(graph):
        boxes = head.boxes(graph, patching.value, box)
        for step in steps:
            values = [v for v in (*step.region.inputs, *step.region.outputs) if v in boxes and v not in head.sources]
            parts = [_nbytes(graph, v, boxes[v]) for v in values if v != patching.value]
            most = max(most, sum(parts) + step.code.scratch_bytes)
        computed += sum(_nbytes(graph, n.outputs[0], boxes[n.outputs[0]]) for n in head.nodes)
    once = sum(graph.type(n.outputs[0]).nbytes for n in head.nodes)
    return most, computed / once - 1


def _nbytes(graph: Graph, value: str, box: Box) -> int:
    whole = graph.type(value)
    (top, bottom), (left, right) = box
    return prod(whole.shape[:2]) * (bottom - top) * (right - left) * whole.dtype.itemsize
