"""Processes that do not outlive their block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesmith.processes import owned_process

SLEEP = [sys.executable, "-c", "import time; time.sleep(100)"]


def has_ended(pid: int) -> bool:
    """Whether it is gone, or waits for being reaped by whoever took it over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_ends_by_itself_is_left_alone() -> None:
    with owned_process([sys.executable, "-c", "print(3)"], stdout=subprocess.PIPE) as process:
        assert process.communicate()[0] == b"3\n"
    assert process.returncode == 0


def test_an_error_kills_the_process() -> None:
    with pytest.raises(ZeroDivisionError), owned_process(SLEEP) as process:
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGKILL


def test_an_error_kills_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(ZeroDivisionError), owned_process(["sh", "-c", f"sleep 100 & echo $! > {note}; wait"]):
        wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
        raise ZeroDivisionError
    wait_until(lambda: has_ended(int(note.read_text())))


def test_ctrl_c_while_it_starts_kills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), owned_process(SLEEP):
        raise AssertionError("the block was entered")
    assert started[0].returncode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is before


def test_what_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError), owned_process(["/nonexistent/program"]):
        pass
