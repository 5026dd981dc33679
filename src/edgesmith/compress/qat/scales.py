"""Where the scales of values start: as post-training quantisation chooses them on calibration data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgesmith.compress.qat.matching import Sites, is_moved_only
from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.quantize import QParams, open_samples
from edgesmith.quantize.calibration import calibrate
from edgesmith.quantize.placement import Role, role
from edgesmith.quantize.scales import activation_parameters
from edgesmith.quantize.sharing import shared_ranges

__all__ = ["Stored", "inherited", "stored_values"]


@dataclass(frozen=True)
class Stored:
    """How a value is stored as integers.

    Args:
        start: its parameters, to begin with.
        group: the traced node whose scale it has: the first of those that movement connects.
        moved: whether its elements are rounded already, because they only moved.
    """

    start: QParams
    group: str
    moved: bool


def stored_values(found: Sites, batches: Iterable[Any]) -> dict[str, Stored]:
    """By value of the graph, in its order; values that the traced network does not have stay in floats.

    Args:
        batches: inputs of the network, each a tensor, or a tuple of them; or a tensor and a label.

    Raises:
        BadInput: the data do not fit, or what a layer reads does not vary on them.
    """
    graph, names = found.exported.graph, found.exported.names
    known = {*names, *inherited(graph, found.placement.values, names)}
    samples = open_samples(list(_arrays(batches, len(graph.inputs))), {v: graph.type(v) for v in graph.inputs})
    values = [v for v in found.placement.values if v in known]
    ranges = calibrate(graph, values, samples, found.settings).ranges
    for name, form in found.products.items():
        if form.input in values and form.input not in ranges:
            raise BadInput(
                "the input of the layer does not vary on the calibration data",
                where=f"prepare: {name}",
                hint="Give typical inputs as init, or keep the layer in floats.",
            )
    shared = shared_ranges(graph, ranges)
    groups = _groups(graph, shared)
    first: dict[str, str] = {}
    for value in shared:
        if value in names:
            first.setdefault(groups[value], names[value])
    result: dict[str, Stored] = {}
    for value, range in shared.items():
        moved = _is_on_grid(graph, value, groups, {v for v in result if v in names or result[v].moved})
        result[value] = Stored(activation_parameters(range, found.settings), first[groups[value]], moved)
    return result


def inherited(graph: Graph, stored: Sequence[str], names: Container[str]) -> dict[str, str]:
    """For values without a name the one with a name whose elements they have, in another order perhaps."""
    found: dict[str, str] = {}
    for value in stored:
        source = _moved_from(graph, value)
        if value in names or source is None or source not in stored:
            continue
        if source in names or source in found:
            found[value] = found.get(source, source)
    for value in reversed(stored):
        reader = graph.sole_consumer(value)
        if value in names or value in found or reader is None:
            continue
        result = reader.outputs[0]
        if _moved_from(graph, result) == value and result in stored and (result in names or result in found):
            found[value] = found.get(result, result)
    return found


def _moved_from(graph: Graph, value: str) -> str | None:
    """The one value whose elements are moved to make ``value``."""
    node = graph.producer(value)
    if node is None or role(node.op) is not Role.MOVE:
        return None
    sources = [v for v in node.read if v not in graph.constants]
    return sources[0] if len(sources) == 1 else None


def _groups(graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    """For each value one that stands for all that movement connects and that have the same range."""
    parent = {v: v for v in ranges}

    def root(value: str) -> str:
        while parent[value] != value:
            value = parent[value]
        return value

    rank = {v: i for i, v in enumerate(ranges)}
    for node in graph.nodes:
        if role(node.op) is not Role.MOVE:
            continue
        connected = [v for v in (*node.read, *node.outputs) if v in ranges and v not in graph.constants]
        for value in connected:
            for other in connected:
                if ranges[value] == ranges[other] and (node.outputs[0] in (value, other)):
                    first, second = sorted((root(value), root(other)), key=rank.__getitem__)
                    parent[second] = first
    return {v: root(v) for v in ranges}


def _is_on_grid(graph: Graph, value: str, groups: Mapping[str, str], rounded: Container[str]) -> bool:
    """Whether the traced network has rounded all that a value consists of, to the same scale."""
    node = graph.producer(value)
    if not is_moved_only(graph, node):
        return False
    assert node is not None
    sources = [v for v in node.read if v not in graph.constants]
    return all(v in rounded and groups[v] == groups[value] for v in sources)


def _arrays(batches: Iterable[Any], inputs: int) -> Iterable[Any]:
    for batch in batches:
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        if len(parts) < inputs:
            raise BadInput(f"{len(parts)} tensors for {inputs} inputs", where="prepare: init")
        arrays = tuple(_array(part) for part in parts[:inputs])
        yield arrays if len(arrays) > 1 else arrays[0]


def _array(part: Any) -> np.ndarray:
    return part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
