"""Suites of networks that are timed together: one TOML file each."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgesmith import zoo
from edgesmith.errors import BadInput

__all__ = ["Entry", "Suite", "load_suite", "suite_names"]

_FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Entry:
    """One network of the zoo at one batch size."""

    network: str
    batch: int = 1

    @property
    def name(self) -> str:
        return self.network if self.batch == 1 else f"{self.network}@{self.batch}"

    def model(self) -> onnx.ModelProto:
        """The network with its seeded weights."""
        return zoo.build(self.network, batch=self.batch)


@dataclass(frozen=True)
class Suite:
    """Networks and what they are.

    Args:
        about: one sentence.
    """

    name: str
    about: str
    entries: tuple[Entry, ...]

    @property
    def per_image(self) -> bool:
        """Whether batches are compared with one another, so that times of one image are shown."""
        return any(e.batch > 1 for e in self.entries)

    def only(self, networks: Sequence[str]) -> Suite:
        """The suite with some of its networks; all where none is named.

        Raises:
            BadInput: the suite has no such network.
        """
        known = {e.network for e in self.entries} | {e.name for e in self.entries}
        for name in networks:
            if name not in known:
                raise BadInput(
                    f"suite {self.name} has no {name!r}", where="--networks", hint=f"it has {', '.join(sorted(known))}"
                )
        kept = tuple(e for e in self.entries if not networks or e.network in networks or e.name in networks)
        return Suite(self.name, self.about, kept)


def suite_names() -> tuple[str, ...]:
    """All suites."""
    return tuple(sorted(f.stem for f in _FOLDER.glob("*.toml")))


def load_suite(name: str) -> Suite:
    """A suite by name.

    Raises:
        BadInput: there is none of this name.
    """
    if name not in suite_names():
        raise BadInput(f"no suite {name!r}", where="--suite", hint=f"known: {', '.join(suite_names())}")
    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text())
    entries = tuple(Entry(network, batch) for network in data["networks"] for batch in data["batches"])
    return Suite(name, data["about"], entries)
