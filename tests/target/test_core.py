"""Cores as data."""

from __future__ import annotations

import pytest

from edgesmith.target import cores, parse, profiles


def test_every_core_is_whole() -> None:
    for name, core in cores().items():
        assert core.name == name and core.title and core.sources
        rates = (core.gigahertz, core.uops_per_cycle, core.fma_per_cycle, core.fma_latency, core.loads_per_cycle)
        assert min(rates) > 0 and core.uops_per_cycle >= core.fma_per_cycle
        assert min(core.l2_bytes_per_cycle, core.far_bytes_per_cycle, core.memory_bytes_per_ns) > 0
        assert core.shared_bytes_per_ns > 0 and core.shared_bytes >= 0
        assert not core.uncertainty or (core.uncertainty > 1 and core.model)


def test_cores_of_arm_devices_are_known() -> None:
    for profile in profiles().values():
        for cluster in (c for c in profile.clusters if profile.triple.startswith(("aarch64", "arm", "thumb"))):
            assert cluster.cpu in cores(), f"{profile.name}: {cluster.cpu}"


@pytest.mark.parametrize(
    ("target", "core"),
    [
        ("raspberry-pi-4", "cortex-a72"),
        ("raspberry-pi-5", "cortex-a76"),
        ("aarch64-linux-gnu", "cortex-a72"),
        ("aarch64-linux-gnu+dotprod", "cortex-a76"),
        ("aarch64-linux-gnu+i8mm", "cortex-a76"),
        ("aarch64-linux-gnu+portable", "x86-64"),
        ("x86_64-linux-gnu+avx512", "x86-64"),
    ],
)
def test_a_target_has_the_core_of_its_device_or_of_its_instructions(target: str, core: str) -> None:
    assert parse(target).core.name == core


def test_a_device_runs_at_its_own_clock() -> None:
    profile = profiles()["raspberry-pi-4"]
    assert parse("raspberry-pi-4").gigahertz == profile.clusters[0].gigahertz
    assert parse("x86_64-linux-gnu").gigahertz == cores()["x86-64"].gigahertz


def test_predictions_for_x86_stay_what_records_were_made_with() -> None:
    """Shipped tuning records hold predictions that these numbers gave."""
    core = cores()["x86-64"]
    numbers = (core.gigahertz, core.uops_per_cycle, core.fma_per_cycle, core.fma_latency, core.loads_per_cycle)
    assert numbers == (3.5, 4, 2, 4, 2)
    assert (core.div_cycles, core.sqrt_cycles, core.fmod_cycles) == (6, 4, 40)
    assert (core.l2_bytes_per_cycle, core.far_bytes_per_cycle, core.memory_bytes_per_ns) == (22, 28, 20)
    assert (core.shared_bytes, core.shared_bytes_per_ns, core.uncertainty) == (2 << 20, 60, 0)
