"""Targets: a triple with instruction sets, cores and caches."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgesmith.errors import TargetError
from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.processor import cache_bytes

__all__ = ["Target", "absent", "parse"]

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Target:
    """What a program is compiled for.

    Args:
        triple: ``<arch>-<os>-<abi>``.
        isas: instruction sets beyond plain C, closed under implication, widest last; empty: portable C99 only.
        cores: number of cores.
        l1_bytes, l2_bytes: data caches of one core.
    """

    triple: str
    isas: tuple[str, ...] = ()
    cores: int = 1
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 512 * 1024

    @property
    def arch(self) -> str:
        return self.triple.split("-")[0]

    @property
    def isa(self) -> Isa | None:
        """The widest vector instruction set, or None for portable C."""
        return ISAS[self.isas[-1]] if self.isas else None

    @property
    def lanes(self) -> int:
        """f32 lanes of one vector register (1 without vectors)."""
        return self.isa.vector_bits // 32 if self.isa else 1

    @property
    def registers(self) -> int:
        return self.isa.registers if self.isa else 16

    @property
    def features(self) -> tuple[str, ...]:
        """Compiler features (``-m<feature>``) of all instruction sets."""
        return tuple(dict.fromkeys(f for name in self.isas for f in ISAS[name].features))

    def has(self, primitive: str) -> bool:
        """Whether some instruction set has its own instruction for a primitive of the vector or of the tile layer."""
        return any(primitive in ISAS[name].instr or primitive in ISAS[name].tiles for name in self.isas)

    def __str__(self) -> str:
        return "+".join((self.triple, *self.isas[-1:]))


def _closure(names: list[str], arch: str) -> tuple[str, ...]:
    found: list[str] = []

    def add(name: str) -> None:
        if name not in ISAS:
            raise TargetError(f"unknown instruction set {name!r}", hint=f"known: {', '.join(ISAS)}")
        if ISAS[name].arch != arch:
            raise TargetError(f"instruction set {name!r} belongs to {ISAS[name].arch}, the target is {arch}")
        for implied in ISAS[name].implies:
            add(implied)
        if name not in found:
            found.append(name)

    for name in names:
        add(name)
    return tuple(sorted(found, key=lambda n: ISAS[n].vector_bits))


def _arch() -> str:
    return platform.machine().lower().replace("amd64", "x86_64")


def absent() -> dict[str, str]:
    """Why programs of this process do without an instruction set of this machine's architecture: its name -> reason."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    flags = {f for line in lines if line.startswith(("flags", "Features")) for f in line.split(":")[1].split()}
    found: dict[str, str] = {}
    for name, isa in ISAS.items():
        missing = [f for f in isa.cpuinfo if f not in flags]
        if isa.arch != _arch():
            continue
        if missing:
            found[name] = f"the processor lacks {', '.join(missing)}"
        elif isa.permission is not None and (refusal := isa.permission.refusal()) is not None:
            found[name] = refusal
    return found


def _host() -> Target:
    arch, without = _arch(), absent()
    return Target(
        triple=f"{arch}-linux-gnu",
        isas=_closure([n for n, isa in ISAS.items() if isa.arch == arch and n not in without], arch),
        cores=os.cpu_count() or 1,
        l1_bytes=cache_bytes(1, 32 * 1024),
        l2_bytes=cache_bytes(2, 512 * 1024),
    )


def parse(text: str) -> Target:
    """The target that ``text`` names.

    Args:
        text: ``native`` (this machine), ``portable`` (this machine, plain C99 without vectors),
            ``native+avx2`` (this machine with vectors no wider than AVX2), or ``<triple>[+<isa>...]``.

    Raises:
        TargetError: the text names no known target.
    """
    base, *names = text.strip().split("+")
    if base in ("native", "portable"):
        host = _host()
        if base == "portable" and names:
            raise TargetError("portable means no instruction sets", where=text, hint="use native+<isa>")
        isas = host.isas if base == "native" and not names else _closure(names, host.arch)
        missing = set(isas) - set(host.isas)
        if missing:
            raise TargetError(f"this machine lacks {', '.join(sorted(missing))}", where=text)
        return Target(host.triple, isas, host.cores, host.l1_bytes, host.l2_bytes)
    parts = base.split("-")
    if len(parts) != 3 or parts[0] not in {isa.arch for isa in ISAS.values()} | {"aarch64", "arm", "riscv64"}:
        raise TargetError(
            "not a target",
            where=text,
            hint="use native, portable, native+avx2, or a triple such as x86_64-linux-gnu+avx2",
        )
    return Target(base, _closure(names, parts[0]))
