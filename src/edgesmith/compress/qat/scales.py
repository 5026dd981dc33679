"""Where the scales of values start: as post-training quantisation chooses them on calibration data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgesmith.compress.qat.inheritance import inherited
from edgesmith.compress.qat.matching import Sites, is_moved_only
from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.quantize import QParams, open_samples
from edgesmith.quantize.calibration import calibrate
from edgesmith.quantize.placement import Role, role
from edgesmith.quantize.scales import activation_parameters
from edgesmith.quantize.sharing import shared_ranges

__all__ = ["Stored", "stored_values"]


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
    likes = inherited(graph, found.placement.values, names)
    known = {*names, *likes}
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
    for value in shared:
        like = value if groups[value] in first else likes[value]
        moved = _is_on_grid(graph, value, groups, {v for v in result if v in names or result[v].moved})
        result[value] = Stored(activation_parameters(shared[like], found.settings), first[groups[like]], moved)
    return result


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
