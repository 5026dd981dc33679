"""Checkpoints that appear whole or not at all, by wall time."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgesmith.compress.state import write_state
from edgesmith.errors import BadInput

__all__ = ["Checkpoints"]

FORMAT = 1


class Checkpoints:
    """One file ``checkpoint.pt`` in a folder, which is made where it is missing.

    Args:
        folder: where.
        every: seconds between two checkpoints.
        clock: seconds from any fixed moment.
    """

    def __init__(self, folder: Path, every: float = 45.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / "checkpoint.pt"
        self._every, self._clock = every, clock
        self._saved = clock()
        folder.mkdir(parents=True, exist_ok=True)

    def seconds_left(self) -> float:
        """Until the next one is due; 0 or less when it is."""
        return self._saved + self._every - self._clock()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by ``state``: tensors, numbers, strings, and dicts and lists of them."""
        write_state({"format": FORMAT, **state}, self.path)
        self._saved = self._clock()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """What was saved last, or None.

        Raises:
            BadInput: the file is damaged or no checkpoint; nothing in it is executed.
        """
        if not self.path.exists():
            return None
        hint = "remove it to begin anew"
        try:
            with zipfile.ZipFile(self.path) as archive:
                damaged = archive.testzip()
            state = None if damaged else torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # whatever zipfile and the unpickler raise on files that are no checkpoints
            first = str(error).strip().splitlines()[:1]
            raise BadInput(f"cannot be read: {''.join(first)}", where=str(self.path), hint=hint) from error
        if damaged:
            raise BadInput(f"damaged: the checksum of {damaged} is wrong", where=str(self.path), hint=hint)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise BadInput("no checkpoint of this version", where=str(self.path), hint=hint)
        return state
