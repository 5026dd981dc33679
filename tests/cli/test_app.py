"""Help, errors, interruption, start-up time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgesmith.cli import app as cli
from edgesmith.version import __version__

EDGESMITH = [sys.executable, "-m", "edgesmith"]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself_with_examples(run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0, result.output
    assert f"edgesmith {command}" in result.stdout
    assert "Example" in result.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_one_line_help_matches_the_command(command: str) -> None:
    """The listing's text and the command's own first line speak of the same thing (at least its verb)."""
    assert cli._load(command).help.split()[0] == cli.COMMANDS[command].split()[0]


def test_help_lists_every_command(run) -> None:
    listed = run("--help").stdout
    assert all(command in listed for command in cli.COMMANDS)


def test_version(run) -> None:
    assert run("--version").stdout.strip() == f"edgesmith {__version__}"


def test_misspelt_command_is_suggested(run) -> None:
    result = run("compil")
    assert result.exit_code == 2
    assert "compile" in result.output


def test_errors_are_one_message_without_traceback(run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x07garbage that is no model")
    result = run("compile", bad, "-o", "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback() -> None:
    done = subprocess.run([*EDGESMITH, "--debug", "profile", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ArtifactError" in done.stderr


def test_missing_file_is_no_traceback(run) -> None:
    result = run("inspect", "nowhere.onnx", "--gflops", 1, "--gbps", 1)
    assert result.exit_code == 2
    assert "nowhere.onnx" in result.stderr


def test_interrupt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, run, digits: Path, tmp_path: Path) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgesmith.pipeline.planning.make_plan", stop)
    result = run("compile", digits, "-o", "out", "--no-cache")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.toolchain
def test_ctrl_c_ends_the_process(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*EDGESMITH, "compile", "zoo:mobilenet-v2", "-o", "out", "--no-cache"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()):  # the folder that will become the artifact
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_start_up_does_not_load_the_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "from edgesmith.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({'onnx', 'onnxruntime', 'numpy', 'PIL'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_output_is_plain_in_a_pipe(compiled: Path) -> None:
    done = subprocess.run([*EDGESMITH, "why", str(compiled)], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert "─" not in done.stdout


def test_reader_that_leaves_early_is_no_error(compiled: Path) -> None:
    command = " ".join(EDGESMITH)
    done = subprocess.run(f"{command} why {compiled} | head -1", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
