"""Calibration data: inputs of the model, one run after the other, never all in memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.quantize.items import Inputs, Item, checked, extent

__all__ = ["Samples"]


class Samples(ABC):
    """Runs of a model's inputs, in the same order each time.

    Args:
        inputs: the model's inputs.
        limit: most runs; None: all.
    """

    real = True
    """Whether they were measured or photographed, rather than made up."""

    def __init__(self, inputs: Inputs, limit: int | None) -> None:
        self.inputs, self.limit = inputs, limit

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Inputs of the model by name, checked, each a whole batch; the last batch is filled up by its own beginning.

        Raises:
            BadInput: an item cannot be read, or has a wrong name, shape or element type, or numbers that are not
                finite; or there is no item at all.
        """
        runs = 0
        for run in self._runs():
            if runs == self.limit:
                return
            yield run
            runs += 1
        if not runs:
            raise BadInput("there is no sample in it", where=self.label, hint="calibration needs some typical inputs")

    @property
    @abstractmethod
    def label(self) -> str:
        """What the user called it."""

    @property
    def count(self) -> int | None:
        """Number of runs, where it is known without reading everything."""
        return None

    @property
    def batch(self) -> int:
        """Samples in one run."""
        return max((extent(t) for t in self.inputs.values()), default=1)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data; equal data give equal runs."""
        sha = hashlib.sha256(f"{self.limit} {sorted((v, str(t)) for v, t in self.inputs.items())}".encode())
        for part in self._content():
            sha.update(part)
        return sha.hexdigest()

    @abstractmethod
    def _items(self) -> Iterator[Item]:
        """The data, item by item: whole batches, or parts of them."""

    def _content(self) -> Iterator[bytes]:
        """Bytes that decide the runs. Default: the runs."""
        for run in self:
            for name in sorted(run):
                yield name.encode()
                yield run[name].tobytes()

    def _runs(self) -> Iterator[dict[str, np.ndarray]]:
        waiting: dict[str, list[np.ndarray]] = {v: [] for v in self.inputs}
        for where, item in self._items():
            for value, rows in checked(where, item, self.inputs).items():
                waiting[value].append(rows)
            while all(_rows(waiting[v]) >= extent(t) for v, t in self.inputs.items()):
                yield {v: self._taken(waiting, v) for v in self.inputs}
        if any(_rows(parts) for parts in waiting.values()):
            for value, kind in self.inputs.items():
                rows = np.concatenate(waiting[value] or [np.zeros((0, *kind.shape[1:]), kind.dtype.numpy)])
                if not rows.shape[0]:
                    raise BadInput(f"fewer data for input {value!r} than for others", where=self.label)
                waiting[value] = [np.resize(rows, (extent(kind), *rows.shape[1:]))]
            yield {v: self._taken(waiting, v) for v in self.inputs}

    def _taken(self, waiting: dict[str, list[np.ndarray]], value: str) -> np.ndarray:
        """One batch, taken from the rows that wait."""
        kind, parts = self.inputs[value], waiting[value]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        waiting[value] = [rows[extent(kind) :]]
        return np.ascontiguousarray(rows[: extent(kind)]).reshape(kind.shape)


def _rows(parts: list[np.ndarray]) -> int:
    return sum(p.shape[0] for p in parts)
