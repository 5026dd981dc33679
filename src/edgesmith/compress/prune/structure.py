"""What can be pruned: units of coupled channels, in named groups, with exact costs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune.balance import Equal, balanced_units
from edgesmith.compress.prune.labels import FIXED, Ints
from edgesmith.compress.prune.propagation import Propagation, Role, propagate
from edgesmith.compress.prune.training_only import read_in_training
from edgesmith.compress.tracing import trace
from edgesmith.errors import BadInput

__all__ = ["Axis", "Group", "Kept", "Structure", "analyse"]

Kept = Mapping[str, Ints]
"""By group name: which of its units stay, ascending."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a parameter or buffer.

    Attributes:
        tensor: its name.
        layer: the module it belongs to.
        units: the unit of every position, -1 for positions that always stay; shape (blocks * size,).
        blocks: more than 1 for weights of grouped convolutions of which every group reads channels of its own.
    """

    tensor: str
    axis: int
    role: Role
    layer: str
    units: Ints
    blocks: int = 1

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the parameter's shape as (positions of ``units``, all else)."""
        if self.blocks == 1:
            return tensor.movedim(self.axis, 0).reshape(len(self.units), -1)
        return tensor.reshape(self.blocks, -1, *tensor.shape[1:]).movedim(2, 1).reshape(len(self.units), -1)


@dataclass(frozen=True, slots=True)
class Group:
    """Units that have the same places in the same layers, so that any of them may go.

    Attributes:
        name: the first layer that makes these channels.
        units: numbers of the units.
        width: channels a unit, in the first layer that makes them.
        layers: all layers that make these channels.
        readers: the layers that read them.
    """

    name: str
    units: Ints
    width: int
    layers: tuple[str, ...]
    readers: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.units)


@dataclass(frozen=True)
class Structure:
    """The prunable structure of a module.

    Attributes:
        axes: of all parameters and buffers with channels.
        groups: in the order of the network.
        untouched: layers whose output channels all stay, and why.
        units: number of units.
    """

    module: nn.Module
    example: Any
    propagation: Propagation
    axes: tuple[Axis, ...]
    groups: tuple[Group, ...]
    untouched: tuple[tuple[str, str], ...]
    units: int
    unit_of_label: Ints
    _counts: _Counts

    def group(self, name: str) -> Group:
        """The group of this name, or the first that a layer of this name makes.

        Raises:
            BadInput: there is none.
        """
        for group in self.groups:
            if group.name == name or name in group.layers:
                return group
        raise self._no_group(name)

    def named(self, names: Collection[str]) -> list[Group]:
        """The groups of these very names.

        Raises:
            BadInput: there is none of a name.
        """
        known = {group.name: group for group in self.groups}
        for name in names:
            if name not in known:
                raise self._no_group(name)
        return [known[name] for name in names]

    def _no_group(self, name: str) -> BadInput:
        known = ", ".join(group.name for group in self.groups)
        return BadInput("no such group", where=name, hint=f"known: {known}")

    def macs(self, kept: npt.NDArray[Any] | None = None) -> int:
        """Multiply-adds with so many units kept of each group; None for all."""
        return self._counts.total(self._counts.terms, kept) + self._counts.other_macs

    def parameters(self, kept: npt.NDArray[Any] | None = None) -> int:
        """Parameters with so many units kept of each group; None for all."""
        return self._counts.total(self._counts.tensors, kept) + self._counts.other_parameters

    def saved(self, group: int, kept: npt.NDArray[Any] | None = None) -> float:
        """Multiply-adds that one unit of a group costs, while so many of each group are kept."""
        sizes = np.array([g.size for g in self.groups]) if kept is None else kept
        less = sizes.copy()
        less[group] -= 1
        return float(self.macs(sizes) - self.macs(less))

    def share(self, group: int) -> float:
        """Fraction of the module's multiply-adds in layers that make or read a group's channels."""
        return self._counts.share(group)

    @property
    def is_read(self) -> npt.NDArray[np.bool_]:
        """Which units some layer reads through weights."""
        found = np.zeros(self.units, dtype=bool)
        for axis in self.axes:
            if axis.role == "in":
                found[axis.units[axis.units >= 0]] = True
        return found

    def mask(self, kept: Kept) -> npt.NDArray[np.bool_]:
        """Which units stay; groups that are not named stay whole.

        Raises:
            BadInput: there is no such group, or what is named are no numbers of its units.
        """
        stays = np.ones(self.units, dtype=bool)
        for group in self.named(kept):
            stays[group.units] = False
            stays[group.units[_places(group, kept[group.name])]] = True
        return stays


def _places(group: Group, units: Any) -> Ints:
    """Numbers of a group's units, if they are."""
    found = np.asarray(units)
    if found.ndim != 1 or not len(found) or not np.issubdtype(found.dtype, np.integer):
        why = f"the units that stay are {found.dtype} of shape {found.shape}, not a row of whole numbers"
        hint = "give their numbers, such as np.flatnonzero(mask); one stays at least"
        raise BadInput(why, where=group.name, hint=hint)
    if found.min() < 0 or found.max() >= group.size or len(set(found.tolist())) < len(found):
        why = f"the units that stay, {found.min()} to {found.max()}, are not different ones of 0 to {group.size - 1}"
        raise BadInput(why, where=group.name, hint="give every unit's number within its group once")
    return found.astype(np.int64)


@dataclass(frozen=True)
class _Counts:
    """Numbers of positions along axes as linear functions of the units kept in each group."""

    sizes: npt.NDArray[np.int64]
    fixed: npt.NDArray[np.int64]
    factors: npt.NDArray[np.int64]
    terms: Sequence[tuple[int, tuple[int, ...]]]
    tensors: Sequence[tuple[int, tuple[int, ...]]]
    other_parameters: int
    other_macs: int

    def total(self, terms: Sequence[tuple[int, tuple[int, ...]]], kept: npt.NDArray[Any] | None) -> int:
        along = (self.fixed + self.factors @ (self.sizes if kept is None else np.asarray(kept))).tolist()
        total = 0
        for scale, axes in terms:
            product = scale
            for axis in axes:
                product *= along[axis]
            total += product
        return total

    def share(self, group: int) -> float:
        touched = [(s, axes) for s, axes in self.terms if any(self.factors[a, group] for a in axes)]
        return self.total(touched, None) / max(1, self.total(self.terms, None) + self.other_macs)


def analyse(module: nn.Module, example: Any, attention: Literal["heads", "head_dim"] = "heads") -> Structure:
    """Find everything that can be pruned.

    Groups of channels that must shrink alike, as those of grouped convolutions, may lose different ones, or are coupled
    one by one, whichever leaves fewer layers untouched.

    Args:
        example: one input, or a tuple of positional inputs; a batch of one is enough.
        attention: what attention loses: whole heads, or the same number of dimensions in every head.

    Raises:
        ModelError: the module's own ``forward`` cannot be traced.
        BadInput: the module does not run on ``example``.
    """
    traced = trace(module, example)
    read, unclear = read_in_training(traced, example)
    p = propagate(traced, attention, stay=read)
    structure = structure_of(module, example, p)
    if p.equal:
        coupled = structure_of(module, example, propagate(traced, attention, balance=False, stay=read))
        structure = min(
            structure, coupled, key=lambda s: (len(s.untouched), s.macs(np.ones(len(s.groups), dtype=np.int64)))
        )
    return replace(structure, untouched=(*structure.untouched, *unclear.items()))


def structure_of(module: nn.Module, example: Any, p: Propagation) -> Structure:
    """Units and groups of what was propagated."""
    roots, reasons = p.labels.roots(), p.labels.reasons()
    if p.equal:
        joined, stuck = balanced_units(
            [Equal(tuple(roots[part.numpy()] for part in equal.parts), equal.spread) for equal in p.equal], reasons
        )
        to = np.arange(len(roots), dtype=np.int64)
        for classes_of_unit in joined:
            to[classes_of_unit] = min(classes_of_unit)
        roots = to[roots]
        reasons |= dict.fromkeys(stuck, "groups of channels must lose equally many, and it has no counterpart")
    fixed = np.isin(roots, np.array([FIXED, *reasons], dtype=np.int64))
    slots = list(p.slots.values())
    blocks = [slot.blocks for slot in slots]
    along = [slot.labels.numpy() for slot in slots]
    keys: dict[bytes, int] = {labels.tobytes(): i for i, labels in reversed(list(enumerate(along))) if blocks[i] == 1}
    term_axes: list[tuple[int, tuple[int, ...]]] = []
    for term in p.terms:
        places = []
        for labels in (axis.numpy() for axis in term.axes):
            if labels.tobytes() not in keys:
                keys[labels.tobytes()] = len(along)
                along.append(labels)
                blocks.append(1)
            places.append(keys[labels.tobytes()])
        term_axes.append((term.scale, tuple(places)))
    classes = [roots[labels] for labels in along]
    signatures: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, values in enumerate(classes):
        for root, count in zip(*np.unique(values[values != FIXED], return_counts=True), strict=True):
            signatures[int(root)].append((place, int(count)))
    members: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for root, signature in signatures.items():
        members[tuple(signature)].append(root)

    alone: dict[int, str] = {}
    groups: list[Group] = []
    unit_of_root = np.full(len(roots), -1, dtype=np.int64)
    units = 0
    taken: Counter[str] = Counter()
    # By their places, which pruning leaves as they are, so that names stay those of the same groups.
    for places_in, found in sorted(members.items()):
        makers = [slots[i] for i, _ in places_in if i < len(slots) and slots[i].role == "out"]
        layers = tuple(dict.fromkeys(slot.layer for slot in makers))
        in_slots = places_in[0][0] < len(slots)
        first = layers[0] if layers else slots[places_in[0][0]].tensor if in_slots else ""
        taken[first] += 1
        found = [root for root in found if not fixed[root]]
        if len(found) <= 1 or not in_slots:
            alone.update(dict.fromkeys(found, "all of its channels would have to go together"))
            continue
        numbers = np.arange(units, units + len(found), dtype=np.int64)
        unit_of_root[np.sort(found)] = numbers
        units += len(found)
        readers = dict.fromkeys(slots[i].layer for i, _ in places_in if i < len(slots) and slots[i].role == "in")
        name = f"{first}#{taken[first]}" if taken[first] > 1 else first
        width = next((n for i, n in places_in if i < len(slots) and slots[i].role == "out"), places_in[0][1])
        groups.append(Group(name, numbers, width, layers, tuple(readers)))
    unit_of_label = np.where(fixed, -1, unit_of_root[roots])
    positions = [unit_of_label[labels] for labels in along]
    axes = tuple(
        Axis(slot.tensor, slot.axis, slot.role, slot.layer, where, slot.blocks)
        for slot, where in zip(slots, positions, strict=False)
    )
    # Blocks shrink alike, so the first tells the size of the axis.
    counted = [where[: len(where) // n] for where, n in zip(positions, blocks, strict=True)]
    counts = _counts(module, example, axes, counted, groups, term_axes)
    untouched = _untouched(p, axes, roots, reasons, alone)
    return Structure(module, example, p, axes, tuple(groups), untouched, units, unit_of_label, counts)


def _counts(
    module: nn.Module,
    example: Any,
    axes: Sequence[Axis],
    positions: Sequence[Ints],
    groups: Sequence[Group],
    terms: Sequence[tuple[int, tuple[int, ...]]],
) -> _Counts:
    group_of_unit = np.repeat(np.arange(len(groups)), [g.size for g in groups])
    sizes = np.array([g.size for g in groups], dtype=np.int64)
    fixed = np.array([int((where < 0).sum()) for where in positions], dtype=np.int64)
    factors = np.zeros((len(positions), len(groups)), dtype=np.int64)
    for place, where in enumerate(positions):
        found = np.bincount(group_of_unit[where[where >= 0]], minlength=len(groups))
        factors[place] = found // np.maximum(sizes, 1)
    owned = dict(module.named_parameters())
    by_tensor: dict[str, list[int]] = defaultdict(list)
    for place, axis in enumerate(axes):
        if axis.tensor in owned:
            by_tensor[axis.tensor].append(place)
    tensors = []
    for name, places in by_tensor.items():
        rest = owned[name].numel()
        for place in places:
            rest //= max(1, len(positions[place]))
        tensors.append((rest, tuple(places)))
    others = sum(tensor.numel() for name, tensor in owned.items() if name not in by_tensor)
    counts = _Counts(sizes, fixed, factors, terms, tensors, others, 0)
    return replace(counts, other_macs=counting.macs(module, example) - counts.total(terms, None))


def _untouched(
    p: Propagation, axes: Sequence[Axis], roots: Ints, reasons: Mapping[int, str], alone: Mapping[int, str]
) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for axis, slot in zip(axes, p.slots.values(), strict=True):
        if axis.role == "out" and bool((axis.units < 0).all()):
            classes = roots[slot.labels.numpy()].tolist()
            why = next((reasons[c] for c in classes if c in reasons), "")
            found.setdefault(axis.layer, why or next((alone[c] for c in classes if c in alone), "it always stays"))
    for name, why in p.traced.opaque.items():
        found.setdefault(name, f"cannot be traced: {why}")
    return tuple(found.items())
