"""Measured peak rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith.bench import machine as measuring
from edgesmith.bench.machine import best_of, measure, this_machine
from edgesmith.target import Machine, parse
from edgesmith.toolchain import zig


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["portable", "native"])
def test_rates_are_those_of_a_computer(target: str) -> None:
    found = measure(parse(target), zig())
    assert 1e8 < found.flops < 1e13
    rates = [rate for _, rate in found.bandwidths]
    assert rates == sorted(rates, reverse=True)
    assert 1e8 < rates[-1] <= rates[0] < 1e14


@pytest.mark.toolchain
def test_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    zig_cache = measuring.knobs.CACHE_DIR() / "zig"
    monkeypatch.setenv("EDGESMITH_CACHE_DIR", str(tmp_path))
    (tmp_path / "zig").symlink_to(zig_cache)
    first = this_machine()
    monkeypatch.setattr(measuring, "measure", lambda *a: pytest.fail("measured again"))
    assert this_machine() == first
    (file,) = (tmp_path / "machine").iterdir()
    file.write_text("{}")
    monkeypatch.setattr(measuring, "measure", lambda *a: first)
    assert this_machine() == first


def test_other_load_only_lowers_rates() -> None:
    first = Machine("m", "i", 1, 100e9, ((1 << 14, 90e9), (1 << 20, 50e9)))
    second = Machine("m", "i", 1, 80e9, ((1 << 14, 95e9), (1 << 20, 40e9)))
    assert best_of(first, second) == Machine("m", "i", 1, 100e9, ((1 << 14, 95e9), (1 << 20, 50e9)))


def test_roofline() -> None:
    machine = Machine("m", "i", 1, 100e9, ((1 << 14, 100e9), (1 << 20, 50e9), (1 << 26, 10e9)))
    assert machine.compute_ns(50) == pytest.approx(1)
    assert machine.bandwidth(1) == machine.bandwidth(1 << 14) == 100e9
    assert machine.bandwidth(1 << 30) == 10e9
    assert machine.bandwidth(1 << 17) == pytest.approx(75e9)
    assert machine.memory_ns(100, 1) == pytest.approx(1)
    assert Machine.from_json(machine.to_json()) == machine
    for damaged in ({}, {**machine.to_json(), "bandwidths": []}, {**machine.to_json(), "flops": 0}):
        with pytest.raises((KeyError, ValueError, TypeError)):
            Machine.from_json(damaged)
