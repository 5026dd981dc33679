"""``edgesmith pack``, and ``--emit`` of ``edgesmith compile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgesmith.cli.app import app
from edgesmith.cli.packing import emitted
from edgesmith.device import Artifact

from .conftest import IDENTIFIER

pytestmark = pytest.mark.toolchain

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def test_pack(run: Run, artifact: Artifact, tmp_path: Path) -> None:
    result = run("pack", artifact.path, "--emit", "source", "--emit", "wheel,header-only", "--package-version", "1.2")
    assert result.exit_code == 0, result.output
    names = sorted(p.name for p in (tmp_path / "dist").iterdir())
    assert names[1:] == [f"{IDENTIFIER}-1.2-source.zip", f"{IDENTIFIER}.h"]
    assert names[0].startswith(f"{IDENTIFIER}-1.2-py3-none-manylinux_2_17_")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emit", "exe"], "'exe' is a part of artifacts"),
        (["--emit", "weel"], "'weel' is not one of"),
        (["--emit", ","], "nothing to make"),
        (["--emit", "source", "--package-version", "latest"], "'latest' is not a version"),
        (["--emit", "source", "-o", "file"], "file: is no folder"),
        (["--emit", "source", "-o", "@/dist"], "lies in the artifact"),
        (["--emit", "android"], "compile with --target aarch64-linux-android"),
    ],
)
def test_pack_says_why_not(run: Run, artifact: Artifact, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "file").write_text("")
    result = run("pack", artifact.path, *(a.replace("@", str(artifact.path)) for a in arguments))
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file"]


def test_what_is_no_artifact(run: Run) -> None:
    result = run("pack", "nowhere", "--emit", "wheel")
    assert result.exit_code == 2 and "no artifact here" in result.stderr


def test_compile_refuses_before_it_works(run: Run) -> None:
    for arguments, message in (
        ("--emit shared,weel", "'weel' is not one of shared, static, exe"),
        ("--package-version x", "x"),
        ("--emit shared,android", "compile with --target aarch64-linux-android"),
        ("--emit wheel --target wasm32-wasi", "there is no Python for wasm32-wasi"),
        ("--emit shared --target nucleo-l4", "nucleo-l4: cannot become shared: microcontrollers load no libraries"),
        ("--emit static,shared --target thumb-freestanding-eabi", "--emit static,exe"),
        ("--emit ,", "nothing to make"),
    ):
        result = run("compile", "zoo:lenet-5", "-o", "out", *arguments.split())
        assert result.exit_code == 2 and message in result.stderr
    assert not Path("out").exists()


def test_lists() -> None:
    assert emitted(["shared, exe", "wheel"]) == ("shared", "exe", "wheel")
