"""Cores: what processors execute in a cycle, one TOML file each in ``cores/``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Core", "cores"]


@dataclass(frozen=True)
class Core:
    """What the cost models of kernels assume of a core. Vectors are those of its instruction set's full width.

    Args:
        name: the file's name: as compilers name the core.
        title: what its maker calls it.
        gigahertz: a usual clock.
        uops_per_cycle: instructions that it starts in a cycle, in the operations that they are cut into.
        fma_per_cycle: multiply-adds of vectors.
        fma_latency: cycles from a sum to the next one that adds to it.
        div_cycles, sqrt_cycles, fmod_cycles: of a vector, one after the other.
        loads_per_cycle: of vectors, from the first-level cache.
        l2_bytes_per_cycle: from the second-level cache, one line after the other.
        far_bytes_per_cycle: from behind the second-level cache.
        memory_bytes_per_ns: from memory, to one core.
        shared_bytes: what a cache behind the second-level one keeps of a network's weights from run to run.
        shared_bytes_per_ns: from there.
        sources: where the numbers are from.
        model: its processor model in ``llvm-mca``; empty: there is none that can be relied on.
        conversion_cycles: of a vector between integers and floats; 0: no more than of an addition.
        in_order: whether an instruction waits for those before it; loads then belong well before their use.
        uncertainty: nine predicted times in ten lie within this factor around those of its model; 0: nobody knows.
    """

    name: str
    title: str
    gigahertz: float
    uops_per_cycle: float
    fma_per_cycle: float
    fma_latency: float
    div_cycles: float
    sqrt_cycles: float
    fmod_cycles: float
    loads_per_cycle: float
    l2_bytes_per_cycle: float
    far_bytes_per_cycle: float
    memory_bytes_per_ns: float
    shared_bytes: int
    shared_bytes_per_ns: float
    sources: tuple[str, ...]
    model: str = ""
    conversion_cycles: float = 0.0
    in_order: bool = False
    uncertainty: float = 0.0

    @property
    def converts_slowly(self) -> bool:
        """Whether two additions of floats take less than a conversion."""
        return self.conversion_cycles * self.fma_per_cycle > 2.0


@cache
def cores() -> Mapping[str, Core]:
    """All cores by name."""
    folder = resources.files("edgesmith.target") / "cores"
    found = {}
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name):
        name = file.name.removesuffix(".toml")
        data = tomllib.loads(file.read_text())
        shared = data.pop("shared_kib", 0) * 1024
        found[name] = Core(name=name, shared_bytes=shared, **{**data, "sources": tuple(data["sources"])})
    return found
