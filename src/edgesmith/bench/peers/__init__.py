"""Other runtimes that a compiled model is timed against: one file each, found through the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx

from edgesmith.registry import Registry

__all__ = ["PEERS", "Peer", "Run"]

Run = Callable[[], list[np.ndarray]]
"""One inference on inputs that are already in place; the outputs in the model's order."""


class _Prepare(Protocol):
    def __call__(self, model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int) -> Run: ...


@dataclass(frozen=True)
class Peer:
    """Another runtime.

    Args:
        name: as given to ``--against``.
        package: the Python package whose version is reported.
        prepare: loads a normalised model and fixes its inputs and number of threads.
        settings: what it was told, for the report.
    """

    name: str
    package: str
    prepare: _Prepare
    settings: Mapping[str, Any]


PEERS: Registry[Peer] = Registry("peer", "edgesmith.bench.peers")
