"""Ways to quantise a network: one file each.

A method's file runs in a process and a virtual environment of its own (``bench/peerside/worker.py``), so it imports
what it needs inside functions. It defines:

``PACKAGES``
    pinned requirements of its environment; none: the environment of Edgesmith itself.
``VARIANTS``
    for each name in the table the further arguments of ``Method`` as a dict.
``convert(model, folder)``
    reads the float model, ``calibration.npy`` (N, ...; samples of the only input without their batch of one) and
    ``options.json`` of the folder, and writes ``model.onnx`` there; where it knows them also ``layers.json``: signal to
    quantisation noise of intermediate values by name, in dB.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FLOAT = "f32"


@dataclass(frozen=True)
class Method:
    """A way to quantise, with its settings.

    Args:
        name: in the table.
        file: Python file with ``convert``.
        packages: requirements of its environment.
        engine: what runs the result: ``onnxruntime``, or ``edgesmith``, compiled.
        width: of activations and weights, such as ``int8``; ``f32`` for a model that stays as it is.
        settings: what a reader needs to know, in words.
        options: for ``convert``.
    """

    name: str
    file: Path
    packages: tuple[str, ...]
    engine: str
    width: str
    settings: str
    options: Mapping[str, Any] = field(default_factory=dict)


@cache
def known() -> dict[str, Method]:
    """All methods by name, those that change nothing first."""
    found = []
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"{__name__}.{info.name}")
        file = Path(inspect.getfile(module))
        found += [Method(name, file, module.PACKAGES, **given) for name, given in module.VARIANTS.items()]
    return {m.name: m for m in sorted(found, key=lambda m: m.width != FLOAT)}
