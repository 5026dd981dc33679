"""Whether a pruned network computes, node by node, what the whole one computes for the channels that are left."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from edgesmith.compress.prune.propagation import Propagation, leaves
from edgesmith.compress.prune.rules.elementwise import ELEMENTWISE
from edgesmith.compress.prune.structure import Structure
from edgesmith.compress.tracing import Shape

__all__ = ["calls_elementwise", "number_of", "other_values"]


def other_values(structure: Structure, after: Propagation, stays: npt.NDArray[np.bool_]) -> str:
    """The first operation that is another one, or gets other channels or numbers; empty if there is none.

    Code may slice channels at places that it states as numbers, branch by how many there are, or compute with that.
    """
    before = structure.propagation
    old_nodes, new_nodes = ([n for n in p.traced.graph.graph.nodes if _computes(n)] for p in (before, after))
    if [_called(n) for n in old_nodes] != [_called(n) for n in new_nodes]:
        return "its code takes another way with fewer channels"
    old_roots, new_roots = before.labels.roots(), after.labels.roots()
    old_of_new = _made(structure, after, stays)
    for old, new in zip(old_nodes, new_nodes, strict=True):
        if calls_elementwise(old) and _numbers(old) != _numbers(new):
            return f"{old.name} computes with another number"
        shapes = leaves(new.meta.get("value"), Shape)
        for was, now, shape in zip(
            leaves(before.values.get(old), torch.Tensor),
            leaves(after.values.get(new), torch.Tensor),
            shapes,
            strict=False,
        ):
            labels = before.labels.canonical(was)
            axes = before.labels.varying(labels)
            if not axes and was.numel() and now.numel():
                root, label = (int(r[v[(0,) * v.ndim]]) for r, v in ((old_roots, was), (new_roots, now)))
                if root and label and old_of_new.get(label, root) != root:
                    return f"{old.name} has another channel"
            if len(axes) != 1:
                continue
            (axis,) = axes
            mine = old_roots[_along(labels, axis)]
            units = structure.unit_of_label[_along(was, axis)]
            left = (units < 0) | stays[units]
            if shape.sizes[axis] != left.sum():
                return f"{old.name} has {shape.sizes[axis]} channels instead of {left.sum()}"
            found = new_roots[_along(now, axis)]
            for unit, root, label in zip(units[left].tolist(), mine[left].tolist(), found.tolist(), strict=True):
                if unit >= 0 and label and old_of_new.setdefault(label, root) != root:
                    return f"{old.name} has other channels"
    return ""


def _made(structure: Structure, after: Propagation, stays: npt.NDArray[np.bool_]) -> dict[int, int]:
    """The label of a channel that layers of the whole network make or read, by its label in the pruned one."""
    before = structure.propagation
    old_roots, new_roots = before.labels.roots(), after.labels.roots()
    found: dict[int, int] = {}
    for axis in structure.axes:
        slot = after.slots.get((axis.tensor, axis.axis))
        if slot is not None:
            left = (axis.units < 0) | stays[axis.units]
            old = old_roots[before.slots[axis.tensor, axis.axis].labels.numpy()][left]
            found.update(zip(new_roots[slot.labels.numpy()].tolist(), old.tolist(), strict=True))
    return found


def calls_elementwise(node: fx.Node) -> bool:
    """Whether a node computes with single elements, so that numbers among its arguments are numbers to compute with."""
    name = str(getattr(node.target, "__name__", node.target)).rstrip("_")
    return node.op in ("call_function", "call_method") and name in ELEMENTWISE and _gives_tensors(node)


def number_of(argument: Any) -> int | float | None:
    """The number that an argument is, or was for the example; None if it is none."""
    value = argument.meta.get("value") if isinstance(argument, fx.Node) else argument
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _numbers(node: fx.Node) -> list[int | float | None]:
    return [number_of(argument) for argument in (*node.args, *node.kwargs.values())]


def _computes(node: fx.Node) -> bool:
    """Whether a node is part of what the network computes; code also looks at sizes, to choose its way."""
    return node.op == "output" or (node.op != "get_attr" and _gives_tensors(node))


def _gives_tensors(node: fx.Node) -> bool:
    return any(True for _ in leaves(node.meta.get("value"), Shape))


def _called(node: fx.Node) -> tuple[str, str]:
    """What a node calls; methods are as good as functions of the same name."""
    if node.op in ("call_function", "call_method"):
        return "call", str(getattr(node.target, "__name__", node.target)).rstrip("_")
    return node.op, str(node.target)


def _along(labels: torch.Tensor, axis: int) -> npt.NDArray[np.int64]:
    index: list[Any] = [0] * labels.ndim
    index[axis] = slice(None)
    return np.asarray(labels[tuple(index)].numpy())
