"""``tune`` and ``tuning``: locks, records, and how long texts are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesmith import knobs
from edgesmith.cli.choosing import seconds
from edgesmith.errors import BadInput


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "times.sqlite"
    monkeypatch.setenv(knobs.TUNING_DB.name, str(path))
    return path


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5m", 90), ("1h2m3s", 3723)]
)
def test_budgets(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "m", "5x", "3s2m", "5 minutes", "inf"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        seconds(text)


@pytest.mark.toolchain
def test_tune_compile_exchange(run, digits: Path, database: Path, tmp_path: Path) -> None:
    tuned = run("tune", digits, "--budget", "15s", "-o", "deep/digits.lock.json", "--json")
    assert tuned.exit_code == 0, tuned.output
    found = json.loads(tuned.stdout)
    assert found["measured"] > 0 and found["best_ns"] > 0
    assert Path(found["lock"]).is_file() and Path(found["database"]) == database

    compiled = run("compile", digits, "-o", "out", "--lock", found["lock"], "--no-verify", "--json")
    assert compiled.exit_code == 0, compiled.output
    assert Path("out/lock.json").read_text() == Path(found["lock"]).read_text()
    chosen = {step["name"]: step["kernel"] for step in json.loads(compiled.stdout)["steps"]}
    assert chosen == {step["name"]: step["kernel"] for step in found["steps"]}

    info = json.loads(run("tuning", "--json").stdout)
    assert info["environments"][0]["records"] == found["measured"]
    assert "here" in run("tuning", "info").stdout
    exported = run("tuning", "export", "times.jsonl.xz", "--best", "1", "--here")
    assert exported.exit_code == 0, exported.output
    assert run("tuning", "prune", "--best", "1").exit_code == 0
    records = json.loads(run("tuning", "--json").stdout)["environments"][0]
    assert records["records"] == records["layers"]
    database.unlink()
    assert "imported" in run("tuning", "import", "times.jsonl.xz").stdout
    assert json.loads(run("tuning", "--json").stdout)["environments"][0] == records

    shown = run("tune", digits, "--budget", "1s")
    assert shown.exit_code == 0, shown.output
    assert "network" in shown.stdout and "digits.lock.json" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("tuning", "destroy"),
        ("tuning", "export"),
        ("tuning", "import"),
        ("tuning", "info", "file"),
        ("tuning", "import", "absent.jsonl"),
        ("tune", "absent.onnx"),
        ("compile", "absent.onnx", "--budget", "never"),
        ("compile", "absent.onnx", "--lock", "absent.json"),
    ],
)
def test_wrong_use_is_explained(run, database: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "error:" in result.stderr
