"""Instruction sets: one file each, found through the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgesmith.registry import Registry

__all__ = ["ISAS", "Isa", "Permission"]


@dataclass(frozen=True)
class Permission:
    """How a program asks whether it may use an instruction set that the system grants to each process by itself.

    Programs ask when they run, and where the set is refused or missing they do with those that it contains.

    Args:
        headers: C headers that ``ask`` needs on Linux.
        ask: body of a C function that asks, and returns 1 where the set may be used, else 0.
        refusal: asks for this process; why it is refused, None where it is granted.
    """

    headers: tuple[str, ...]
    ask: str
    refusal: Callable[[], str | None]


@dataclass(frozen=True)
class Isa:
    """A set of vector instructions as a table.

    Args:
        name: as written in a target, such as ``avx2``.
        arch: first part of the triples that it belongs to.
        implies: names of sets that it contains.
        vector_bits: width of one register.
        registers: number of vector registers.
        features: feature names as Clang and GCC take them after ``-m`` (x86) or after a ``+`` (ARM, RISC-V).
        march: architecture that GCC and Clang are told (``-march``), with it and the sets that it contains; empty: they
            are told each feature (``-m``).
        options: what they are told besides.
        condition: of C's preprocessor, which holds where they were told; empty: files can ask for it by themselves.
        header: the C header of its intrinsics.
        preamble: C text before the vector layer.
        cpuinfo: flags that ``/proc/cpuinfo`` must list.
        detect: C conditions over ``es_processor.h``, all of which hold where the processor has what this adds to the
            sets that it contains; none of a set that every processor has.
        baseline: every processor of its architecture has it.
        emulator_cpu: processor that QEMU emulates with this set and, where there is one, no wider set.
        processor: what compilers are told where the target names no processor; empty: its architecture.
        instr: primitive of the vector layer -> C template over ``{0}``, ``{1}``, ...; what is missing falls back to GNU
            vector extensions (``edgesmith.c.vector`` lists the primitives and their meaning).
        tiles: primitive of the tile layer (``edgesmith.c.tiles``) -> C template; all of them, or none.
        permission: how to ask for the set; None: every process may use it.
    """

    name: str
    arch: str
    vector_bits: int
    registers: int
    features: tuple[str, ...] = ()
    march: str = ""
    options: tuple[str, ...] = ()
    condition: str = ""
    implies: tuple[str, ...] = ()
    header: str = ""
    preamble: str = ""
    cpuinfo: tuple[str, ...] = ()
    detect: tuple[str, ...] = ()
    baseline: bool = False
    emulator_cpu: str = ""
    processor: str = ""
    instr: Mapping[str, str] = field(default_factory=dict)
    tiles: Mapping[str, str] = field(default_factory=dict)
    permission: Permission | None = None


ISAS: Registry[Isa] = Registry("instruction set", "edgesmith.target.isa")
