"""Instruction sets that the system grants to each process by itself."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgesmith.cli.app import app
from edgesmith.device.artifact import _check_machine
from edgesmith.errors import ArtifactError, TargetError
from edgesmith.target import absent, host, parse
from edgesmith.target import target as module
from edgesmith.target.isa import ISAS

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX belongs to x86_64")


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, refusal: str | None) -> None:
    """A processor with every instruction set, and a system that answers as said when it is asked for tiles."""
    (folder / "cpuinfo").write_text(f"flags : {' '.join(f for isa in ISAS.values() for f in isa.cpuinfo)}\n")
    amx = ISAS["amx"]
    assert amx.permission is not None
    changed = replace(amx, permission=replace(amx.permission, refusal=lambda: refusal))
    monkeypatch.setattr(host, "CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(module, "ISAS", {**ISAS, "amx": changed})


def test_a_granted_set_is_native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, None)
    assert absent() == {}
    assert parse("native").isas[-2:] == ("avx512vnni", "amx")
    assert parse("native").has("tile_dot4")


def test_a_denied_set_is_not_native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "the kernel denies it")
    assert absent() == {"amx": "the kernel denies it"}
    assert parse("native").isas[-1] == "avx512vnni"
    with pytest.raises(TargetError, match="lacks amx"):
        parse("native+amx")


def test_doctor_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgesmith.cli.doctor._compile_and_run", lambda: (True, "not now"))
    pretend(monkeypatch, tmp_path, "the kernel denies it")
    assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)["absent"] == {"amx": "the kernel denies it"}
    assert "amx: the kernel denies it" in CliRunner().invoke(app, ["doctor"]).output


def test_the_system_of_this_machine_is_asked() -> None:
    permission = ISAS["amx"].permission
    assert permission is not None
    if "amx_tile" not in host.CPUINFO.read_text():
        assert "denies" in (permission.refusal() or "")


def test_a_program_that_asks_first_is_loaded_without_the_set(tmp_path: Path) -> None:
    here = parse("native").isas
    _check_machine({"target": str(parse("native")), "isas": [*here, "amx"]}, tmp_path)
    for unknown in ("avx512", "of-a-later-version"):
        if unknown not in here:
            with pytest.raises(ArtifactError, match=unknown):
                _check_machine({"target": str(parse("native")), "isas": [*here, unknown]}, tmp_path)
