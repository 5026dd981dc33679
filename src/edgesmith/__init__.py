"""Edgesmith turns trained networks into small, fast, verified native programs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgesmith.errors import EdgesmithError
from edgesmith.version import __version__

if TYPE_CHECKING:
    from edgesmith.api import compile, from_torch, latency
    from edgesmith.device import Artifact, load

__all__ = ["Artifact", "EdgesmithError", "__version__", "compile", "from_torch", "latency", "load"]

_HOME = {
    "Artifact": "edgesmith.device",
    "load": "edgesmith.device",
    "compile": "edgesmith.api",
    "from_torch": "edgesmith.api",
    "latency": "edgesmith.api",
}
"""Names that are imported at first use, so that ``edgesmith --help`` does not wait for ONNX Runtime."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
