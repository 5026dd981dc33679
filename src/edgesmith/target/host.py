"""This machine: its triple, and what its processor has."""

from __future__ import annotations

import platform
import subprocess
from functools import cache

from edgesmith.errors import TargetError
from edgesmith.target.processor import CPUINFO, features_of

__all__ = ["architecture", "features", "is_known", "triple"]

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "arm"}
"""Names of systems for what triples call otherwise."""
SYSTEMS = {"Linux": "linux-gnu", "Darwin": "macos", "Windows": "windows-gnu"}
"""End of triples by what Python calls the system."""
MACOS = {
    "arm.FEAT_DotProd": ("asimddp",),
    "arm.FEAT_FP16": ("fphp", "asimdhp"),
    "arm.FEAT_I8MM": ("i8mm",),
    "supplementalsse3": ("ssse3",),
    "avx2_0": ("avx2",),
    "avx512vnni": ("avx512_vnni",),
    **{name: (name,) for name in ("sse2", "sse4_1", "fma", "f16c", "bmi2")},
    **{name: (name,) for name in ("avx512f", "avx512bw", "avx512dq", "avx512vl")},
}
"""Linux's names of features by those of macOS below ``hw.optional``:
https://developer.apple.com/documentation/kernel/1387446-sysctlbyname/determining_instruction_set_characteristics."""


def architecture() -> str:
    """As triples call it."""
    machine = platform.machine().lower()
    return ARCHITECTURES.get(machine, machine)


def is_known() -> bool:
    """Whether the system is one that programs are compiled for."""
    return platform.system() in SYSTEMS


def triple() -> str:
    """That of programs which run here; raises ``TargetError`` on a system that no programs are compiled for."""
    if not is_known():
        raise TargetError(
            f"programs are not compiled for {platform.system() or 'this system'}, which this machine has",
            where="native",
            hint="Name another machine with --target ('edgesmith targets' lists them).",
        )
    arch, system = architecture(), SYSTEMS[platform.system()]
    return f"{arch}-{system}{'eabihf' if (arch, system) == ('arm', 'linux-gnu') else ''}"


def features() -> frozenset[str] | None:
    """What the processor has, in the words of Linux; None where the system does not tell."""
    if platform.system() == "Darwin":
        return features_of_macos(_sysctl())
    try:
        return features_of(CPUINFO.read_text())
    except OSError:
        return None


def features_of_macos(text: str) -> frozenset[str]:
    """The features in what ``sysctl hw.optional`` prints; Advanced SIMD goes unsaid."""
    found = {"asimd"}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.strip() == "1":
            found.update(MACOS.get(name.strip().removeprefix("hw.optional."), ()))
    return frozenset(found)


@cache
def _sysctl() -> str:
    try:
        return subprocess.run(["sysctl", "hw.optional"], capture_output=True, text=True).stdout
    except OSError:
        return ""
