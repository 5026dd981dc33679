"""Sets of channels that must lose equal numbers: units that take channels from some cells.

Grouped convolutions, and reshapes that shuffle channels, do not care which channels go, as long as every group loses as
many as the others. The intersections of the groups of all such operations are cells; a unit takes classes of labels,
some number from each cell of a set, such that all groups of an operation lose equally many.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

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


_LARGEST = 12
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
        chosen = _balanced(members, parts) if spread else _smallest(members, parts) or _balanced(members, parts)
        if not chosen or (spread and len(chosen) < len(members)):
            return units
        count = min(len(members[cell]) // times for cell, times in chosen.items())
        units += [[members[cell].pop(0) for cell, n in chosen.items() for _ in range(n)] for _ in range(count)]


def _balanced(members: Mapping[_Cell, Sequence[int]], parts: Mapping[int, int]) -> dict[_Cell, int]:
    """One of each cell that is left when the smallest ones of parts that occur too often are given up."""
    cells = sorted((cell for cell in members if members[cell]), key=lambda cell: len(members[cell]))
    while cells:
        counts = Counter(place for cell in cells for place in cell)
        most = {number: min(counts[number, part] for part in range(size)) for number, size in parts.items()}
        over = next((cell for cell in cells if any(counts[place] > most[place[0]] for place in cell)), None)
        if over is None:
            return dict.fromkeys(cells, 1)
        cells.remove(over)
    return {}


def _smallest(members: Mapping[_Cell, Sequence[int]], parts: Mapping[int, int]) -> dict[_Cell, int]:
    """Numbers of classes to take from few cells; empty if what is left is not balanced, or the numbers are large.

    Numbers in proportion to the cells' sizes are balanced, as all parts of an operation have one size. From there,
    along directions in which numbers stay balanced, cells are emptied until a single direction is left.
    """
    cells = [cell for cell in members if members[cell]]
    rows = [
        [((number, part) in cell) - ((number, 0) in cell) for cell in cells]
        for number, size in parts.items()
        for part in range(1, size)
    ]
    matrix = np.array(rows, dtype=np.float64).reshape(len(rows), len(cells))
    numbers = np.array([len(members[cell]) for cell in cells], dtype=np.float64)
    if not cells or np.abs(matrix @ numbers).max() > 0:
        return {}
    while True:
        support = np.flatnonzero(numbers)
        _, values, basis = np.linalg.svd(matrix[:, support])
        free = basis[int((values > 1e-9).sum()) :]
        current = numbers[support] / np.linalg.norm(numbers[support])
        for place in np.argsort(current):
            direction = -free.T @ free[:, place]
            direction -= current * (current @ direction)
            if np.linalg.norm(direction) > 1e-6 and direction.min() < -1e-9:
                break
        else:
            break
        falls = direction < -1e-9
        steps = current[falls] / -direction[falls]
        current = current + steps.min() * direction
        current[current < 1e-9] = 0
        numbers[support] = current
    numbers /= numbers[numbers > 0].min()
    for factor in range(1, _LARGEST + 1):
        whole = np.rint(factor * numbers).astype(int)
        fits = all(n <= len(members[cell]) for n, cell in zip(whole, cells, strict=True))
        if np.abs(factor * numbers - whole).max() < 1e-6:
            return {cell: int(n) for n, cell in zip(whole, cells, strict=True) if n} if fits else {}
    return {}
