"""Other runtimes that a compiled model is timed against: one file each.

A peer's file runs in a process and a virtual environment of its own (see ``bench/peerside/worker.py``), so it imports
nothing of Edgesmith, and its runtime only inside functions. It defines:

``PACKAGES``
    pinned requirements of the environment; those behind ``--no-deps`` are installed without their dependencies.
``CONVERTER``
    where the model needs another format and the converter other packages: the requirements of that environment.
``convert(model, folder)``
    where the model needs another format: writes it into ``folder``.
``load(model, folder, feeds, outputs, threads)``
    gives a callable for one inference on the inputs in place, which returns the outputs in order, and the settings
    that it runs with. Where copying the results out takes time that is not the runtime's, the callable is returned as
    ``(run, read)``: ``run()`` is timed, ``read()`` gives the arrays.

A runtime that cannot be measured defines ``ABSENT`` instead of the functions: the reason, which is reported.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgesmith.errors import BadInput

__all__ = ["ALL", "OURS", "Peer", "known", "select"]

ALL = "all"
NONE = "none"


@dataclass(frozen=True)
class Peer:
    """A runtime in a process of its own.

    Args:
        name: as given to ``--against``.
        file: Python file that the worker loads; see above.
        packages: requirements of its environment; none: this process's own environment.
        converter: requirements of the environment in which the model is converted; none: ``packages``.
        converts: whether the model is converted.
        unusable: why it cannot be measured; empty where it can.
    """

    name: str
    file: Path
    packages: tuple[str, ...] = ()
    converter: tuple[str, ...] = ()
    converts: bool = False
    unusable: str = ""


OURS = Peer("edgesmith", Path(__file__).parent.parent / "peerside" / "program.py")
"""The compiled program, run like any other runtime."""


@cache
def known() -> dict[str, Peer]:
    """All peers by name."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return {name: _read(name) for name in names}


def _read(name: str) -> Peer:
    module = importlib.import_module(f"{__name__}.{name}")
    return Peer(
        name,
        Path(inspect.getfile(module)),
        module.PACKAGES,
        getattr(module, "CONVERTER", ()),
        hasattr(module, "convert"),
        getattr(module, "ABSENT", ""),
    )


def select(names: Iterable[str]) -> tuple[Peer, ...]:
    """Peers by name, each once; ``all`` for every one, ``none`` for none; a name may be a list with commas.

    Raises:
        BadInput: no peer has this name.
    """
    wanted = dict.fromkeys(n.strip() for text in names for n in text.split(",") if n.strip())
    wanted.pop(NONE, None)
    if ALL in wanted:
        return tuple(known().values())
    for name in wanted:
        if name not in known():
            raise BadInput(f"no peer {name!r}", where="--against", hint=f"known: {', '.join(known())}, {ALL}, {NONE}")
    return tuple(known()[name] for name in wanted)
