"""This machine, and others that Edgesmith might run on; their systems answer as is written here."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgesmith.errors import TargetError
from edgesmith.target import absent, host, parse, runs_here

M1 = """hw.optional.floatingpoint: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_I8MM: 0
"""
INTEL = "".join(
    f"hw.optional.{name}: {int(name != 'avx512f')}\n"
    for name in ("sse2", "supplementalsse3", "sse4_1", "avx2_0", "fma", "f16c", "bmi2", "avx512f")
)


def pretend(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, sysctl: str = "") -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "CPUINFO", Path("/nowhere"))
    monkeypatch.setattr(host, "_sysctl", lambda: sysctl)


@pytest.mark.parametrize(
    ("system", "machine", "sysctl", "triple", "isas"),
    [
        ("Darwin", "arm64", M1, "aarch64-macos", {"neon", "dotprod", "fp16"}),
        ("Darwin", "arm64", "", "aarch64-macos", {"neon"}),
        ("Darwin", "x86_64", INTEL, "x86_64-macos", {"sse2", "sse4", "avx2"}),
        ("Windows", "AMD64", "", "x86_64-windows-gnu", {"sse2"}),
        ("Linux", "aarch64", "", "aarch64-linux-gnu", {"neon"}),
        ("Linux", "armv7l", "", "arm-linux-gnueabihf", set()),
    ],
)
def test_native(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, sysctl: str, triple: str, isas: set[str]
) -> None:
    pretend(monkeypatch, system, machine, sysctl)
    native = parse("native")
    assert (native.triple, set(native.isas)) == (triple, isas)
    assert parse(str(native)).triple == triple and runs_here(native)
    assert parse("portable").triple == triple and not runs_here(parse("riscv64-linux-gnu"))


def test_what_no_system_says_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "Windows", "AMD64")
    assert absent()["avx2"] == "the system does not say whether the processor has it"
    with pytest.raises(TargetError, match=r"lacks .*avx2"):
        parse("native+avx2")


def test_a_system_that_no_programs_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "FreeBSD", "amd64")
    with pytest.raises(TargetError, match=r"(?s)not compiled for FreeBSD.*--target"):
        parse("native")
    assert not runs_here(parse("x86_64-linux-gnu"))
