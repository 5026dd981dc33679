"""Tables where there is no terminal: nothing is cropped, folded or padded."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.table import Table

from edgesmith.cli.console import console, error_console, figures, table
from edgesmith.target import ISAS, parse, profiles

LONG = "-".join(f"layer{i}" for i in range(400))


def listed() -> Table:
    shown = table("", "layer|kernel|>time|remark")
    for i in range(3):
        shown.add_row(f"{LONG}{i}", f"{LONG}[{i}", "1.5 ms", "" if i else LONG)
    return shown


def counted() -> Table:
    return figures([("kernels", f"{LONG} {LONG}"), ("time", "1 s"), ("", "[green]ok[/green]")])


@pytest.mark.parametrize("stream", ["out", "err"])
def test_nothing_is_lost(capsys: pytest.CaptureFixture[str], stream: str) -> None:
    out = console() if stream == "out" else error_console()
    out.print(listed())
    out.print(counted())
    out.print(f"a [b] {LONG}", markup=False)
    lines = getattr(capsys.readouterr(), stream).splitlines()
    assert len(lines) == 4 + 3 + 1 and all(line == line.rstrip() for line in lines)
    assert [line.split()[0] for line in lines[1:4]] == [f"{LONG}{i}" for i in range(3)]
    assert [line.split()[1] for line in lines[1:4]] == [f"{LONG}[{i}" for i in range(3)]
    assert lines[4].split() == ["kernels", LONG, LONG] and lines[5].split() == ["time", "1", "s"]
    assert lines[6].strip() == "ok" and lines[7] == f"a [b] {LONG}"


def test_every_device_and_set_is_named_in_full() -> None:
    done = subprocess.run([sys.executable, "-m", "edgesmith", "targets"], capture_output=True, text=True, check=True)
    words = [line.split() for line in done.stdout.splitlines()]
    found = {line[0]: line for line in words if line}
    assert profiles().keys() | ISAS.keys() <= found.keys()
    for name in profiles():
        assert str(parse(name)) in found[name]
    (board,) = (line for line in done.stdout.splitlines() if line.startswith("stm32f746"))
    assert board.split()[-4:] == ["1.00", "MiB", "320", "KiB"]
