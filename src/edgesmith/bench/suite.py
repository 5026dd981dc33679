"""Suites of networks that are timed together: one TOML file each."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgesmith import zoo
from edgesmith.errors import BadInput
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.quantize import NO_DATA, Settings, open_samples, quantize

__all__ = ["Entry", "Suite", "load_suite", "suite_names"]

FLOAT = "f32"
SAMPLES = 4
_FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Entry:
    """One network of the zoo at one batch size.

    Args:
        precision: ``f32``, or what it is quantised to.
    """

    network: str
    batch: int = 1
    precision: str = FLOAT

    @property
    def name(self) -> str:
        return self.network if self.batch == 1 else f"{self.network}@{self.batch}"

    def model(self) -> onnx.ModelProto:
        """The network with its seeded weights; quantised by synthetic inputs, which suffice for timing."""
        model = zoo.build(self.network, batch=self.batch)
        if self.precision == FLOAT:
            return model
        graph, _ = optimize(read(model))
        samples = open_samples(NO_DATA, {v: graph.type(v) for v in graph.inputs}, limit=SAMPLES)
        return quantize(graph, samples, Settings(precision=self.precision), compared=0).model


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
    precision = data.get("precision", FLOAT)
    entries = tuple(Entry(network, batch, precision) for network in data["networks"] for batch in data["batches"])
    return Suite(name, data["about"], entries)
