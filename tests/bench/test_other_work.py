"""What other programs take of the processors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgesmith.bench import other_work
from edgesmith.bench.other_work import OtherWork

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the system tells, in seconds: user, system, idle and stolen time of all processors; this process's."""
    monkeypatch.setattr(other_work, "_STAT", tmp_path / "stat")

    def tell(user: int, system: int, idle: int, stolen: int, own: float) -> None:
        columns = (user, 0, system, idle, 0, 0, 0, stolen, user, 0)
        (tmp_path / "stat").write_text(f"cpu  {' '.join(str(c * TICKS) for c in columns)}\ncpu0 1 2 3\n")
        monkeypatch.setattr(os, "times", lambda: (own / 2, own / 4, own / 8, own / 8, 99.0))

    return tell


def test_share_of_others(machine: Any) -> None:
    machine(100, 10, 1000, 0, own=50)
    with OtherWork() as others:
        machine(120, 12, 1015, 3, own=60)
    assert others.share == pytest.approx((20 + 2 + 3 - 10) / 40)


def test_alone(machine: Any) -> None:
    machine(100, 10, 1000, 0, own=50)
    with OtherWork() as others:
        machine(110, 10, 1010, 0, own=60.01)  # clocks do not tick together
    assert others.share == 0


def test_where_the_system_does_not_tell(machine: Any, tmp_path: Path) -> None:
    for text in (None, "", "cpu 1 2 3\n", "intr x\n"):
        if text is not None:
            (tmp_path / "stat").write_text(text)
        with OtherWork() as others:
            pass
        assert others.share is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")
def test_this_machine() -> None:
    with OtherWork() as others:
        sum(range(3_000_000))
    assert others.share is None or 0 <= others.share <= 1
