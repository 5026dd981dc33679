"""Sizes that a network's code states as numbers: found, and replaced by what is left after pruning."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from edgesmith.compress.prune.code import difference, recoded
from edgesmith.compress.prune.same_values import calls_elementwise, number_of
from edgesmith.compress.prune.structure import Structure
from edgesmith.compress.tracing import Shape, as_inputs, evaluating

__all__ = ["rewrite", "stale_attributes"]

Stays = npt.NDArray[np.bool_]
_SIZES = ("view", "reshape", "expand", "unflatten", "broadcast_to")

_MOST_NAMES = 6


def rewrite(structure: Structure, pruned: nn.Module, stays: Stays) -> dict[str, dict[str, Any]]:
    """The numbers that pruning changes in the traced graph, for ``recoded``."""
    traced = structure.propagation.traced.graph
    module = recoded(traced, pruned, {})
    originals = dict(zip(module.graph.nodes, traced.graph.nodes, strict=True))
    copies = {old: new for new, old in originals.items()}
    for old, new in copies.items():
        change = _change(structure, old, stays)
        if change is not None:
            args, kwargs, split = change
            new.args = fx.node.map_arg(args, copies.__getitem__)
            new.kwargs = fx.node.map_arg(kwargs, copies.__getitem__)
            if split:
                new.op, new.target = "call_function", torch.split
    module.recompile()
    with evaluating(module):
        _StateSizes(module, structure, stays, originals).run(*as_inputs(structure.example))
    return difference(traced.graph, module.graph)


class _StateSizes(fx.Interpreter):
    """Runs the graph, and states as numbers those sizes that it computes from values whose sizes no longer agree.

    Numbers that values are multiplied by and the like stay what they were, whatever the code computes them from.
    """

    def __init__(
        self, module: fx.GraphModule, structure: Structure, stays: Stays, originals: dict[fx.Node, fx.Node]
    ) -> None:
        super().__init__(module)
        self._structure, self._kept, self._originals = structure, _Kept(structure, stays), originals

    def run_node(self, n: fx.Node) -> Any:
        old = self._originals.get(n)
        if old is not None and calls_elementwise(old):
            n.args = tuple(self._as_it_was(now, was) for now, was in zip(n.args, old.args, strict=True))
            n.kwargs = {name: self._as_it_was(now, old.kwargs[name]) for name, now in n.kwargs.items()}
        name = str(getattr(n.target, "__name__", n.target)).rstrip("_")
        labels = self._structure.propagation.values.get(self._originals.get(n, n))
        sized = name in _SIZES and name != "unflatten" and n.op in ("call_function", "call_method")
        if sized and isinstance(labels, torch.Tensor) and not _is_computed(n):
            sizes = self._kept.shape(labels)
            nested = isinstance(n.args[1], (tuple, list))
            own: list[Any] = list(n.args[1]) if nested else list(n.args[1:])  # type: ignore[arg-type]
            if len(own) == len(sizes):
                now = [self.env[item] if isinstance(item, fx.Node) else item for item in own]
                own = [s if v not in (-1, s) else o for o, v, s in zip(own, now, sizes, strict=True)]
                n.args = (n.args[0], tuple(own)) if nested else (n.args[0], *own)
        return super().run_node(n)

    def _as_it_was(self, now: Any, was: Any) -> Any:
        """A number to compute with that followed from how many channels there were."""
        number = number_of(was)
        return now if number is None or not isinstance(now, fx.Node) or self.env[now] == number else number


def stale_attributes(structure: Structure, stays: Stays) -> Iterator[dict[tuple[str, str], Any]]:
    """Attributes of modules that probably are the source of stale numbers, with new values: guesses to be tried.

    An attribute is a candidate where its value is the stale number, in the module whose code uses it or one around
    that; guesses are sets of names of attributes, larger ones first.
    """
    found: dict[tuple[str, str], Any] = {}
    known = {(layer, attribute) for layer, attribute, _ in structure.propagation.sizes}
    for node in structure.propagation.traced.graph.graph.nodes:
        change = _change(structure, node, stays)
        if change is None:
            continue
        before, after = list(_numbers((node.args, node.kwargs))), list(_numbers(change[:2]))
        stale = {old: new for old, new in zip(before, after, strict=False) if old != new}
        owner = node.meta.get("owner", "")
        while len(before) == len(after):
            for attribute, value in vars(structure.module.get_submodule(owner)).items():
                if (owner, attribute) in known:
                    continue
                if type(value) is int and value in stale:
                    found.setdefault((owner, attribute), stale[value])
                elif type(value) is tuple and any(type(v) is int and v in stale for v in value):
                    found.setdefault((owner, attribute), tuple(stale.get(v, v) for v in value))
            if not owner:
                break
            owner = owner.rpartition(".")[0]
    names = sorted({attribute for _, attribute in found})[:_MOST_NAMES]
    for count in range(len(names), 0, -1):
        for chosen in combinations(names, count):
            yield {key: value for key, value in found.items() if key[1] in chosen}


def _numbers(value: Any) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, slice):
        yield from _numbers((value.start, value.stop))


def _change(structure: Structure, node: fx.Node, stays: Stays) -> tuple[tuple[Any, ...], dict[str, Any], bool] | None:
    """New arguments of a node, and whether it becomes a split by sizes; None if it can stay."""
    if node.op not in ("call_function", "call_method"):
        return None
    name = str(getattr(node.target, "__name__", node.target)).rstrip("_")
    values = structure.propagation.values
    kept = _Kept(structure, stays)
    if name in _SIZES and isinstance(values[node], torch.Tensor):
        wanted = kept.shape(values[node])
        before = tuple(values[node].shape)
        return None if wanted == before or _is_computed(node) else _resized(node, before, wanted)
    if node.name in structure.propagation.groupings:
        return _regrouped(node, kept.shape(structure.propagation.groupings[node.name])[0])
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or not isinstance(values.get(source), torch.Tensor):
        return None
    x = values[source]
    if name in ("chunk", "split", "tensor_split"):
        parts = [kept.shape(part) for part in values[node]]
        if parts == [tuple(part.shape) for part in values[node]]:
            return None
        dim = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 0)
        sizes = [part[int(dim)] for part in parts]  # type: ignore[arg-type]
        if len(set(sizes)) == 1 and isinstance(node.args[1], int):
            return None if name != "split" else ((source, sizes[0], dim), {}, False)
        return (source, sizes, dim), {}, True
    if name == "getitem":
        index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        new = _indices(index, x, kept, values)
        return None if new is None or new == index else ((source, new), {}, False)
    if name == "narrow":
        dim, start, length = node.args[1:4]
        counts = kept.before(x, int(dim))  # type: ignore[arg-type]
        new_start = counts[int(start)]  # type: ignore[arg-type]
        new_length = counts[int(start) + int(length)] - new_start  # type: ignore[arg-type]
        return None if (start, length) == (new_start, new_length) else ((source, dim, new_start, new_length), {}, False)
    if name == "pad":
        return _padded(structure, node, x, kept)
    if name in ("layer_norm", "group_norm"):
        normalised = kept.shape(values[node])
        if name == "layer_norm" and normalised != tuple(values[node].shape):
            old = node.args[1]
            return (source, normalised[-len(old) :], *node.args[2:]), dict(node.kwargs), False  # type: ignore[arg-type]
    return None


class _Kept:
    """Sizes of values after pruning."""

    def __init__(self, structure: Structure, stays: Stays) -> None:
        self._structure, self._stays = structure, stays

    def mask(self, labels: torch.Tensor, axis: int) -> Stays:
        """Which positions along an axis are left, as far as this axis alone decides."""
        labels = self._structure.propagation.labels.canonical(labels)
        axis %= labels.ndim
        varying = self._structure.propagation.labels.varying(labels)
        if axis not in varying or axis != max(varying, key=lambda a: labels.shape[a]):
            return np.ones(labels.shape[axis], dtype=bool)
        index: list[Any] = [0] * labels.ndim
        index[axis] = slice(None)
        units = self._structure.unit_of_label[labels[tuple(index)].numpy()]
        return np.asarray((units < 0) | self._stays[units])

    def shape(self, labels: torch.Tensor) -> tuple[int, ...]:
        return tuple(int(self.mask(labels, axis).sum()) for axis in range(labels.ndim))

    def before(self, labels: torch.Tensor, axis: int) -> list[int]:
        """How many positions are left before each, and in all."""
        return [0, *np.cumsum(self.mask(labels, axis)).tolist()]


def _is_computed(node: fx.Node) -> bool:
    """Whether all sizes are one tuple that code computes, such as ``x.shape[:2] + (-1,)``: it is left to follow."""
    sizes = node.args[1] if len(node.args) > 1 else None
    return isinstance(sizes, fx.Node) and isinstance(sizes.meta["value"], (tuple, list))


def _resized(
    node: fx.Node, before: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Sizes in the arguments, from the right: the first argument is the tensor, and expand may have -1."""
    args: list[Any] = list(node.args)
    if len(args) == 3 and isinstance(args[2], (tuple, list)):  # unflatten(x, axis, sizes)
        axis = args[1] % (len(sizes) - len(args[2]) + 1)
        return (args[0], args[1], sizes[axis : axis + len(args[2])]), dict(node.kwargs), False
    nested = len(args) > 1 and isinstance(args[1], (tuple, list))
    own = list(args[1]) if nested else args[1:]
    for place in range(1, len(own) + 1):
        if place <= len(sizes) and own[-place] != -1 and sizes[-place] != before[-place]:
            own[-place] = sizes[-place]
    new = (args[0], type(args[1])(own)) if nested else (args[0], *own)
    return new, dict(node.kwargs), False


def _indices(index: tuple[Any, ...], x: torch.Tensor, kept: _Kept, values: Any) -> tuple[Any, ...] | None:
    new: list[Any] = []
    axis = 0
    consumed = sum(1 for item in index if item is not None and item is not Ellipsis)
    for item in index:
        if item is Ellipsis:
            axis += x.ndim - consumed
        elif item is None:
            pass
        elif isinstance(item, slice):
            if item != slice(None):
                size = x.shape[axis]
                bounds = [values.get(b, b) if isinstance(b, fx.Node) else b for b in (item.start, item.stop, item.step)]
                start, stop, step = slice(*bounds).indices(size)
                mask = kept.mask(x, axis)
                if not mask.all():
                    if step != 1:
                        return None
                    counts = kept.before(x, axis)
                    new.append(slice(counts[start], counts[max(start, stop)]))
                    axis += 1
                    continue
            axis += 1
        elif isinstance(item, int):
            if not kept.mask(x, axis).all():
                new.append(kept.before(x, axis)[operator.index(item) % x.shape[axis]])
                axis += 1
                continue
            axis += 1
        else:
            axis += 1
        new.append(item)
    return tuple(new)


def _regrouped(node: fx.Node, groups: int) -> tuple[tuple[Any, ...], dict[str, Any], bool] | None:
    """The number of groups of a convolution or normalisation that is a call of a function."""
    norm = getattr(node.target, "__name__", "") == "group_norm"
    place, name = (1, "num_groups") if norm else (6, "groups")
    given = node.args[place] if place < len(node.args) else node.kwargs.get(name)
    if given == groups or not isinstance(given, int):
        return None
    if name in node.kwargs:
        return tuple(node.args), {**node.kwargs, name: groups}, False
    return (*node.args[:place], groups, *node.args[place + 1 :]), dict(node.kwargs), False


def _padded(
    structure: Structure, node: fx.Node, x: torch.Tensor, kept: _Kept
) -> tuple[tuple[Any, ...], dict[str, Any], bool] | None:
    if not isinstance(node.args[1], (tuple, list)):
        return None
    pads = list(node.args[1])
    out = structure.propagation.values[node]
    new = list(pads)
    for i in range(len(pads) // 2):
        axis = x.ndim - 1 - i
        counts = kept.before(out, axis)
        before, size = number_of(pads[2 * i]), x.shape[axis]
        if counts[-1] != out.shape[axis] and isinstance(before, int):
            new[2 * i], new[2 * i + 1] = counts[before], counts[-1] - counts[before + size]
    assert isinstance(node.meta["value"], Shape)
    return None if new == pads else ((node.args[0], new, *node.args[2:]), dict(node.kwargs), False)
