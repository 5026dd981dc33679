"""Targets: a triple with instruction sets, cores and caches."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from edgesmith.errors import TargetError
from edgesmith.target import host
from edgesmith.target.core import Core, cores
from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.processor import cache_bytes
from edgesmith.target.profile import Profile, profiles
from edgesmith.target.system import TRIPLES, System, system_of

__all__ = ["Target", "absent", "parse", "refused", "runs_here"]

PORTABLE = "portable"
ANY_CORE = "x86-64"
"""Taken where nothing is known of a target's core."""
UNCACHED_BYTES = 4 * 1024
"""What kernels may keep at hand where no cache says how much: all memory is equally near, and there is little."""
HINT = (
    "use native, portable, native+avx2, a device such as raspberry-pi-4, or a triple such as aarch64-linux-gnu+dotprod"
)


@dataclass(frozen=True)
class Target:
    """What a program is compiled for.

    Args:
        triple: ``<arch>-<os>-<abi>``.
        isas: instruction sets beyond plain C, closed under implication, widest last; empty: portable C99 only.
        cores: number of cores.
        l1_bytes, l2_bytes: data caches of one core.
        device: name of the profile that describes the device; empty: any with these instruction sets.
        cpu: its processor as compilers name it; empty: any.
        flash_bytes, ram_bytes: memory for program and weights, and for everything else; 0: as much as there is.
    """

    triple: str
    isas: tuple[str, ...] = ()
    cores: int = 1
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 512 * 1024
    device: str = field(default="", repr=False)
    cpu: str = field(default="", repr=False)
    flash_bytes: int = field(default=0, repr=False)
    ram_bytes: int = field(default=0, repr=False)

    @cached_property
    def arch(self) -> str:
        return self.triple.split("-")[0]

    @cached_property
    def system(self) -> System:
        return system_of(self.triple)

    @property
    def is_static(self) -> bool:
        """Whether executables bring their C library, and run on every system with the same kernel."""
        return "-musl" in self.triple or self.system.name == "android"

    @property
    def is_bare(self) -> bool:
        """Whether programs run on a microcontroller alone: without a system, their constants used where they lie."""
        return self.system.is_bare

    @property
    def has_threads(self) -> bool:
        """Whether programs start threads."""
        return self.system.has_threads and not self.is_bare

    @cached_property
    def isa(self) -> Isa | None:
        """The widest vector instruction set, or None for portable C."""
        return ISAS[self.isas[-1]] if self.isas else None

    @cached_property
    def variant(self) -> str:
        """What it is called among variants of a program: the widest instruction set, or ``portable``."""
        return self.isas[-1] if self.isas else PORTABLE

    @cached_property
    def lanes(self) -> int:
        """f32 lanes of one vector register (1 without vectors)."""
        return self.isa.vector_bits // 32 if self.isa else 1

    @cached_property
    def registers(self) -> int:
        return self.isa.registers if self.isa else 16

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Compiler features (``-m<feature>``) of all instruction sets."""
        return tuple(dict.fromkeys(f for name in self.isas for f in ISAS[name].features))

    @cached_property
    def core(self) -> Core:
        """What cost models assume: the device's own core, else the simplest one with its instruction sets."""
        return _core(self.cpu, self.isas)

    @property
    def gigahertz(self) -> float:
        """The device's highest clock, or the usual one of its core."""
        return profiles()[self.device].clusters[0].gigahertz if self.device else self.core.gigahertz

    def has(self, primitive: str) -> bool:
        """Whether some instruction set has its own instruction for a primitive of the vector or of the tile layer."""
        return any(primitive in ISAS[name].instr or primitive in ISAS[name].tiles for name in self.isas)

    def __str__(self) -> str:
        return f"{self.triple}+{self.variant}"


@cache
def _core(cpu: str, isas: tuple[str, ...]) -> Core:
    for name in (cpu, *(ISAS[i].emulator_cpu for i in reversed(isas))):
        if name in cores():
            return cores()[name]
    return cores()[ANY_CORE]


def _closure(names: list[str], arch: str) -> tuple[str, ...]:
    found: list[str] = []

    def add(name: str) -> None:
        if name not in ISAS:
            known = ", ".join(n for n, isa in ISAS.items() if isa.arch == arch)
            raise TargetError(f"unknown instruction set {name!r}", hint=f"known for {arch}: {known or 'none'}")
        if ISAS[name].arch != arch:
            raise TargetError(f"instruction set {name!r} belongs to {ISAS[name].arch}, the target is {arch}")
        for implied in ISAS[name].implies:
            add(implied)
        if name not in found:
            found.append(name)

    for name in names:
        add(name)
    return tuple(sorted(found, key=lambda n: ISAS[n].vector_bits))


def _baseline(arch: str) -> list[str]:
    """What every processor of an architecture has."""
    return [name for name, isa in ISAS.items() if isa.arch == arch and isa.baseline]


def absent() -> dict[str, str]:
    """Why programs of this process do without an instruction set of this machine's architecture: its name -> reason."""
    arch, flags = host.architecture(), host.features()
    found: dict[str, str] = {}
    for name, isa in ISAS.items():
        missing = [f for f in isa.cpuinfo if f not in (flags or ())]
        if isa.arch != arch or isa.baseline:
            continue
        if flags is None:
            found[name] = "the system does not say whether the processor has it"
        elif missing:
            found[name] = f"the processor lacks {', '.join(missing)}"
        elif isa.permission is not None and (refusal := isa.permission.refusal()) is not None:
            found[name] = refusal
    return found


def _host() -> Target:
    arch, without = host.architecture(), absent()
    return Target(
        triple=host.triple(),
        isas=_closure([n for n, isa in ISAS.items() if isa.arch == arch and n not in without], arch),
        cores=os.cpu_count() or 1,
        l1_bytes=cache_bytes(1, 32 * 1024),
        l2_bytes=cache_bytes(2, 512 * 1024),
    )


def runs_here(target: Target) -> bool:
    """Whether this machine runs a target's programs; they do without a set that the system grants and refuses."""
    if not host.is_known():
        return False
    here = _host()
    return target.triple == here.triple and {i for i in target.isas if ISAS[i].permission is None} <= set(here.isas)


def refused(target: Target) -> bool:
    """Whether this machine has a target's architecture but not all of its sets, granted by the system or not."""
    return target.arch == host.architecture() and not absent().keys().isdisjoint(target.isas)


def parse(text: str) -> Target:
    """The target that ``text`` names.

    Args:
        text: ``native`` (this machine), ``portable`` (this machine, plain C99 without vectors),
            ``native+avx2`` (this machine with vectors no wider than AVX2), the name of a device's profile, or
            ``<triple>[+<isa>...]``: without instruction sets what every processor of the architecture has, with
            ``portable`` in their place plain C99.

    Raises:
        TargetError: the text names no known target.
    """
    base, *names = text.strip().split("+")
    if base in ("native", PORTABLE):
        here = _host()
        if base == PORTABLE and names:
            raise TargetError("portable means no instruction sets", where=text, hint="use native+<isa>")
        return _limited(here, ["portable"] if base == PORTABLE else names, text, "this machine")
    if base in profiles():
        return _limited(_of_profile(profiles()[base]), names, text, base)
    arch, _, system = base.partition("-")
    if not system or arch not in TRIPLES:
        raise TargetError("not a target", where=text, hint=HINT)
    if system not in TRIPLES[arch]:
        known = ", ".join(f"{arch}-{known}" for known in TRIPLES[arch])
        raise TargetError(
            f"{system} is no system that programs for {arch} are compiled for", where=text, hint=f"use {known}"
        )
    isas = () if names == [PORTABLE] else _closure(names or _baseline(arch), arch)
    whole = Target(base, isas, cpu=_processor(isas))
    return replace(whole, l1_bytes=UNCACHED_BYTES) if whole.is_bare else whole


def _processor(isas: tuple[str, ...]) -> str:
    return ISAS[isas[-1]].processor if isas else ""


def _limited(whole: Target, names: list[str], text: str, owner: str) -> Target:
    """A machine with some of its instruction sets; with all of them where none are named."""
    if not names:
        return whole
    isas = () if names == [PORTABLE] else _closure(names, whole.arch)
    missing = set(isas) - set(whole.isas)
    if missing:
        raise TargetError(f"{owner} lacks {', '.join(sorted(missing))}", where=text)
    # A compiler that knows the processor would use all of its instructions.
    return replace(whole, isas=isas, cpu=whole.cpu if isas == whole.isas else _processor(isas))


def _of_profile(profile: Profile) -> Target:
    fastest = profile.clusters[0]
    return Target(
        profile.triple,
        _closure(list(profile.isas), profile.triple.split("-")[0]),
        profile.cores,
        fastest.l1_bytes or UNCACHED_BYTES,
        fastest.l2_bytes or Target.l2_bytes,
        device=profile.name,
        cpu=fastest.cpu,
        flash_bytes=profile.flash_bytes,
        ram_bytes=profile.ram_bytes,
    )
