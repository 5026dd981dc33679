"""``zoo``, ``targets``, ``doctor``, ``cache``."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgesmith import zoo
from edgesmith.target import ISAS, parse


def test_zoo_lists_and_writes(run, tmp_path: Path) -> None:
    listed = run("zoo").stdout
    assert all(name in listed for name in zoo.names())
    assert {n["name"] for n in json.loads(run("zoo", "--json").stdout)} == set(zoo.names())
    assert "arXiv" in run("zoo", "mobilenet-v2").stdout
    result = run("zoo", "lenet-5", "-o", "lenet.onnx", "--batch", "2", "--classes", "7")
    assert result.exit_code == 0, result.output
    model = onnx.load(tmp_path / "lenet.onnx")
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [2, 7]
    unknown = run("zoo", "mobilnet-v2")
    assert unknown.exit_code == 2
    assert "mobilenet-v2" in unknown.stderr


def test_inspect_lists_the_zoo(run) -> None:
    assert run("inspect", "--zoo").stdout == run("zoo").stdout


def test_targets(run) -> None:
    found = json.loads(run("targets", "--json").stdout)
    assert found["native"] == str(parse("native"))
    assert {isa["name"] for isa in found["isas"]} == set(ISAS)
    assert {isa["name"] for isa in found["isas"] if isa["here"]} == set(parse("native").isas)
    assert all(name in run("targets").stdout for name in ISAS)


@pytest.mark.toolchain
def test_doctor(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    healthy = run("doctor")
    assert healthy.exit_code == 0, healthy.output
    assert "onnxruntime" in healthy.stdout
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("EDGESMITH_CACHE_DIR", str(blocked))
    ill = run("doctor", "--json")
    assert ill.exit_code == 1
    assert json.loads(ill.stdout)["checks"]["cache folder is writable"][0] is False


def test_cache(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGESMITH_CACHE_DIR", str(folder))
    assert "0 B" in run("cache").stdout
    (folder / "machine").mkdir(parents=True)
    (folder / "machine" / "x.json").write_text("12345")
    assert "machine" in run("cache", "show").stdout
    for part in ("artifacts", "objects", "tuning"):
        (folder / part).mkdir()
    monkeypatch.setenv("EDGESMITH_CACHE_MB", "7")
    assert run("cache", "show").stdout.count("of at most 7.00 MiB") == 2
    assert run("cache", "clear", "artifacts").exit_code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["machine", "objects", "tuning"]
    assert run("cache", "clear").exit_code == 0
    assert [p.name for p in folder.iterdir()] == ["tuning"], "measured times leave only by name"
    assert run("cache", "clear", "tuning").exit_code == 0 and list(folder.iterdir()) == []
    assert run("cache", "burn").exit_code == 2
    assert "It is empty" in run("cache", "clear", "artifacts").stderr
