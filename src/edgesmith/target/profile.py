"""Profiles of devices: one TOML file each in ``profiles/``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from edgesmith.target.processor import Processor

__all__ = ["Cluster", "Profile", "profiles"]

KIB = 1024


@dataclass(frozen=True)
class Cluster:
    """Equal cores of a device.

    Args:
        core: what their maker calls them.
        cpu: as compilers name it.
        part: number by which ``/proc/cpuinfo`` shows it (``CPU part``).
        gigahertz: highest clock.
        l1_bytes, l2_bytes, l3_bytes: data caches that a core reaches; the outer ones may be shared. 0: there is none.
    """

    core: str
    cpu: str
    part: str
    cores: int
    gigahertz: float
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int = 0

    @classmethod
    def from_toml(cls, data: Mapping[str, Any]) -> Cluster:
        sizes = {f"{level}_bytes": data.get(f"{level}_kib", 0) * KIB for level in ("l1", "l2", "l3")}
        return cls(data["core"], data["cpu"], data["part"], data["cores"], data["gigahertz"], **sizes)


@dataclass(frozen=True)
class Profile:
    """A device that is compiled for by its name.

    Args:
        name: as written in a target; the file's name.
        title: what its maker calls it.
        triple: what programs are linked for.
        isas: instruction sets that all of its cores have, apart from those that these contain.
        clusters: fastest first.
        vendor: number of the cores' designer in ``/proc/cpuinfo`` (``CPU implementer``).
        sources: where the facts are from.
        flash_bytes, ram_bytes: memory of a microcontroller; 0: the device has as much as programs want.
    """

    name: str
    title: str
    triple: str
    isas: tuple[str, ...]
    clusters: tuple[Cluster, ...]
    vendor: str
    sources: tuple[str, ...]
    flash_bytes: int = 0
    ram_bytes: int = 0

    @property
    def cores(self) -> int:
        return sum(c.cores for c in self.clusters)

    @property
    def processor(self) -> Processor:
        """Its fastest cores, as a program that runs on them sees them."""
        c = self.clusters[0]
        return Processor(c.core, self.vendor, c.part, "", "", c.l1_bytes, c.l2_bytes, c.l3_bytes)


@cache
def profiles() -> Mapping[str, Profile]:
    """All profiles by name."""
    folder = resources.files("edgesmith.target") / "profiles"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {p.name: p for p in (_profile(f.name.removesuffix(".toml"), tomllib.loads(f.read_text())) for f in files)}


def _profile(name: str, data: Mapping[str, Any]) -> Profile:
    return Profile(
        name,
        data["title"],
        data["triple"],
        tuple(data["isas"]),
        tuple(Cluster.from_toml(c) for c in data["clusters"]),
        data["vendor"],
        tuple(data["sources"]),
        data.get("flash_kib", 0) * KIB,
        data.get("ram_kib", 0) * KIB,
    )
