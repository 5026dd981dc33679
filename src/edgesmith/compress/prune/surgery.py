"""Cutting: a copy of the user's module whose layers are smaller, checked by sending labels through it again."""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
from torch import nn

from edgesmith.compress.prune.code import recoded
from edgesmith.compress.prune.literals import rewrite, stale_attributes
from edgesmith.compress.prune.propagation import Propagation, propagate
from edgesmith.compress.prune.same_values import other_values
from edgesmith.compress.prune.shape import Positions, PrunedShape, apply_shape
from edgesmith.compress.prune.structure import Kept, Structure
from edgesmith.compress.tracing import as_inputs, evaluating, trace
from edgesmith.errors import EdgesmithError, GraphError

__all__ = ["cut"]


def cut(structure: Structure, kept: Kept) -> tuple[nn.Module, PrunedShape]:
    """Remove all units that are not kept.

    The result is of the user's own class. Only where its code states sizes as numbers that no attribute of a module
    holds, it is a ``torch.fx.GraphModule`` over the pruned layers; code that asks for ``self.training`` then behaves as
    in evaluation.

    Args:
        kept: units that stay, by group name; groups that are not named stay whole.

    Raises:
        GraphError: the pruned network does not agree with what was intended.
    """
    stays = structure.mask(kept)
    if stays.all():
        return copy.deepcopy(structure.module), PrunedShape()
    shape = _shape(structure, stays)
    pruned = apply_shape(structure.module, shape)
    why = _disagreement(structure, pruned, stays)
    if not why:
        return pruned, shape
    for attributes in stale_attributes(structure, stays):
        merged = {layer: dict(values) for layer, values in shape.attributes.items()}
        for (layer, attribute), value in attributes.items():
            merged.setdefault(layer, {}).setdefault(attribute, value)
        patched = replace(shape, attributes=merged)
        candidate = apply_shape(structure.module, patched)
        if not _disagreement(structure, candidate, stays):
            return candidate, patched
    coded, graph = shape, pruned
    try:
        coded = replace(shape, code=rewrite(structure, pruned, stays))
        graph = recoded(structure.propagation.traced.graph, pruned, coded.code)
        why = _disagreement(structure, graph, stays)
    except RuntimeError as error:
        why = str(error)
    if why:
        raise GraphError(
            f"the pruned network is not what was meant: {why}",
            where=type(structure.module).__name__,
            hint="ignore the layers that it names, and please report the module",
        )
    return graph, coded


def _shape(structure: Structure, stays: np.ndarray[Any, np.dtype[np.bool_]]) -> PrunedShape:
    kept: dict[str, dict[int, Positions]] = defaultdict(dict)
    sizes: dict[str, tuple[int, ...]] = {}
    tensors = dict([*structure.module.named_parameters(), *structure.module.named_buffers()])
    for axis in structure.axes:
        keep = (axis.units < 0) | stays[axis.units]
        if not keep.all():
            blocks = [tuple(np.flatnonzero(block).tolist()) for block in keep.reshape(axis.blocks, -1)]
            kept[axis.tensor][axis.axis] = tuple(blocks) if axis.blocks > 1 else blocks[0]
            sizes[axis.tensor] = tuple(tensors[axis.tensor].shape)
    attributes: dict[str, dict[str, Any]] = defaultdict(dict)
    for (layer, attribute, place), labels in structure.propagation.sizes.items():
        units = structure.unit_of_label[labels.numpy()]
        count = int(((units < 0) | stays[units]).sum())
        if count == len(units):
            continue
        if place is None:
            attributes[layer][attribute] = count
        else:
            value = list(getattr(structure.module.get_submodule(layer), attribute))
            value[place] = count
            attributes[layer][attribute] = tuple(value)
    return PrunedShape(dict(kept), sizes, dict(attributes))


def _disagreement(structure: Structure, pruned: nn.Module, stays: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """What is wrong with a pruned module; empty if nothing is."""
    before = structure.propagation
    try:
        with evaluating(pruned), redirect_stderr(StringIO()):  # where torch.fx tells errors of a network that it made
            pruned(*as_inputs(structure.example))
        p = propagate(trace(pruned, structure.example), before.attention, before.shrinks, before.balance)
    except (EdgesmithError, RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        return f"{type(error).__name__}: {str(error).strip()}"
    return (
        _other_shapes(before, p)
        or _other_groups(structure, p, stays)
        or _other_couplings(structure, p, stays)
        or other_values(structure, p, stays)
    )


def _other_shapes(before: Propagation, after: Propagation) -> str:
    outputs = []
    for p in (before, after):
        node = next(n for n in p.traced.graph.graph.nodes if n.op == "output")
        outputs.append([n.meta["value"] for n in node.all_input_nodes])
    return "" if outputs[0] == outputs[1] else f"outputs were {outputs[0]}, are {outputs[1]}"


def _other_groups(structure: Structure, p: Propagation, stays: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Whether a grouped layer has other groups than those that were to stay."""
    for node, labels in structure.propagation.groupings.items():
        units = structure.unit_of_label[labels.numpy()]
        left, found = int(((units < 0) | stays[units]).sum()), len(p.groupings.get(node, ()))
        if left != found:
            return f"{node} has {found} groups instead of {left}"
    return ""


def _other_couplings(structure: Structure, p: Propagation, stays: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Whether labels of the pruned network couple positions that those of the whole one did not couple."""
    old_roots, new_roots = structure.propagation.labels.roots(), p.labels.roots()
    for key in p.slots:
        if key not in structure.propagation.slots:
            return f"{key[0]} has other axes"
    old_of_new: dict[int, int] = {}
    for axis in structure.axes:
        left = (axis.units < 0) | stays[axis.units]
        units, old = (
            axis.units[left],
            old_roots[structure.propagation.slots[axis.tensor, axis.axis].labels.numpy()][left],
        )
        slot = p.slots.get((axis.tensor, axis.axis))
        if slot is None:
            if len(units) > 1 and bool((units >= 0).any()):  # one element serves any number of channels
                return f"{axis.tensor} has other axes"
            continue
        new = new_roots[slot.labels.numpy()]
        if len(new) != len(old):
            return f"{axis.tensor} has {len(new)} positions instead of {len(old)}"
        for unit, was, label in zip(units.tolist(), old.tolist(), new.tolist(), strict=True):
            if unit >= 0 and old_of_new.setdefault(label, was) != was:
                return f"{axis.tensor} is coupled with other channels"
    return ""
