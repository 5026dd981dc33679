"""Instruction sets: one file each, found through the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesmith.registry import Registry

__all__ = ["ISAS", "Isa"]


@dataclass(frozen=True)
class Isa:
    """A set of vector instructions as a table.

    Args:
        name: as written in a target, such as ``avx2``.
        arch: first part of the triples that it belongs to.
        implies: names of sets that it contains.
        vector_bits: width of one register.
        registers: number of vector registers.
        features: feature names as Clang and GCC take them after ``-m``.
        header: the C header of its intrinsics.
        cpuinfo: flags that ``/proc/cpuinfo`` must list.
        instr: primitive of the vector layer -> C template over ``{0}``, ``{1}``, ...; what is missing falls back to GNU
            vector extensions (``edgesmith.c.vector`` lists the primitives and their meaning).
    """

    name: str
    arch: str
    vector_bits: int
    registers: int
    features: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    header: str = ""
    cpuinfo: tuple[str, ...] = ()
    instr: Mapping[str, str] = field(default_factory=dict)


ISAS: Registry[Isa] = Registry("instruction set", "edgesmith.target.isa")
