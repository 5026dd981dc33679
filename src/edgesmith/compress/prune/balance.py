"""Sets of channels that must lose equal numbers: units that take one channel from each of some cells.

Grouped convolutions, and reshapes that shuffle channels, do not care which channels go, as long as every group loses as
many as the others. The intersections of the groups of all such operations are cells; a unit takes one class of labels
from each cell of a set in which all groups of an operation occur equally often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from edgesmith.compress.prune.labels import FIXED, Ints

__all__ = ["Equal", "balanced_units"]

Part = TypeVar("Part")


class Equal(NamedTuple, Generic[Part]):
    """Parts that must lose equally many channels.

    Attributes:
        spread: the parts are interleaved afterwards, so losses must be spread over all cells.
    """

    parts: tuple[Part, ...]
    spread: bool = False


_Cell = tuple[tuple[int, int], ...]


def balanced_units(constraints: Sequence[Equal[Ints]], fixed: Iterable[int]) -> tuple[list[list[int]], set[int]]:
    """Join classes into units under constraints.

    Args:
        constraints: a part is an array of classes.
        fixed: classes that stay.

    Returns:
        Units as lists of classes, and the classes that the constraints keep from ever going.
    """
    stays = {FIXED, *fixed}
    cells: dict[int, dict[int, int]] = defaultdict(dict)
    bad: set[int] = set()
    for number, (parts, _) in enumerate(constraints):
        counts: dict[int, Counter[int]] = defaultdict(Counter)
        for part, classes in enumerate(parts):
            for label in classes.tolist():
                counts[label][part] += 1
        for label, found in counts.items():
            if label in stays or (len(found) == len(parts) and len(set(found.values())) == 1):
                continue  # it takes as many from every part
            if len(found) == 1 and sum(found.values()) == 1:
                cells[label][number] = next(iter(found))
            else:
                bad.add(label)
    members: dict[_Cell, list[int]] = defaultdict(list)
    for label in sorted(cells):
        if label not in bad:
            members[tuple(sorted(cells[label].items()))].append(label)
    units: list[list[int]] = []
    for component in _components(members):
        own = {cell: list(members[cell]) for cell in component}
        sizes = {number: len(constraints[number].parts) for cell in component for number, _ in cell}
        units += _units(own, sizes, any(constraints[number].spread for number in sizes))
    free = {label for unit in units for label in unit}
    return units, (set(cells) | bad) - free


def _components(cells: Iterable[_Cell]) -> list[list[_Cell]]:
    """Cells that constraints connect."""
    found: list[tuple[set[int], list[_Cell]]] = []
    for cell in cells:
        numbers, together = {number for number, _ in cell}, [cell]
        rest = []
        for others, group in found:
            if others & numbers:
                numbers, together = numbers | others, group + together
            else:
                rest.append((others, group))
        found = [*rest, (numbers, together)]
    return [group for _, group in found]


def _units(members: dict[_Cell, list[int]], parts: Mapping[int, int], spread: bool) -> list[list[int]]:
    units: list[list[int]] = []
    while True:
        chosen = _balanced(members, parts)
        if not chosen or (spread and len(chosen) < len(members)):
            return units
        count = min(len(members[cell]) for cell in chosen)
        units += [[members[cell].pop(0) for cell in chosen] for _ in range(count)]


def _balanced(members: Mapping[_Cell, Sequence[int]], parts: Mapping[int, int]) -> list[_Cell]:
    """Cells that are left when the smallest ones of parts that occur too often are given up; empty if none are."""
    cells = sorted((cell for cell in members if members[cell]), key=lambda cell: len(members[cell]))
    while cells:
        counts = Counter(place for cell in cells for place in cell)
        most = {number: min(counts[number, part] for part in range(size)) for number, size in parts.items()}
        over = next((cell for cell in cells if any(counts[place] > most[place[0]] for place in cell)), None)
        if over is None:
            return cells
        cells.remove(over)
    return []
