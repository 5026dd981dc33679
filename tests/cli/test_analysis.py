"""``inspect``, ``profile``, ``why``, ``bench``, ``verify``: figures that agree with their source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgesmith
from edgesmith import zoo
from edgesmith.device.artifact import sha256

pytestmark = pytest.mark.toolchain


def test_inspect_counts_what_was_published(run) -> None:
    network = zoo.describe("squeezenet-1.1")
    result = run("inspect", "zoo:squeezenet-1.1", "--json", "--gflops", "10", "--gbps", "1")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameters"] == 1_235_496  # torchvision
    assert found["macs"] == pytest.approx(network.published.macs, rel=0.02)
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["limit_ns"] >= 2 * found["macs"] / 10
    assert {layer["bound"] for layer in found["layers"]} == {"compute", "memory"}


def test_inspect_table_and_order(run, digits: Path) -> None:
    result = run("inspect", digits, "--sort", "macs", "--gflops", "10", "--gbps", "1")
    assert result.exit_code == 0, result.output
    assert "947,456" in result.stdout
    assert "depthwise" in result.stdout
    assert run("inspect", digits, "--sort", "colour").exit_code == 2
    assert run("inspect", digits, "--gflops", "10").exit_code == 2
    assert run("inspect").exit_code == 2


def test_profile_covers_every_step(run, compiled: Path) -> None:
    result = run("profile", compiled, "-n", "5", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    steps = edgesmith.load(compiled).manifest["steps"]
    assert [s["name"] for s in found["steps"]] == [s["name"] for s in steps]
    assert sum(s["share"] for s in found["steps"]) == pytest.approx(1)
    assert all(s["time_ns"] > 0 and s["limit_ns"] > 0 for s in found["steps"])
    table = run("profile", compiled, "-n", "3", "--limit", "2")
    assert "whole run" in table.stdout


def test_why_names_every_kernel(run, compiled: Path) -> None:
    steps = edgesmith.load(compiled).manifest["steps"]
    overview = run("why", compiled)
    assert overview.exit_code == 0, overview.output
    assert all(step["name"] in overview.stdout for step in steps)
    details = run("why", compiled, steps[0]["name"])
    assert all(c["kernel"] in details.stdout for c in steps[0]["considered"])
    assert "chosen" in details.stdout
    assert run("why", compiled, "no-such-layer").exit_code == 2


def test_bench_against_onnx_runtime(run, digits: Path, compiled: Path) -> None:
    result = run("bench", compiled, "--model", digits, "--rounds", "2", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["best_peer"] == "onnxruntime" and found["ratios"]["onnxruntime"] > 0
    assert all(r["relative_error"] < found["error_limit"] for r in found["runtimes"].values())
    assert found["threads"] == 1
    assert "onnxruntime" in run("bench", compiled, "--model", digits, "--rounds", "1").stdout
    assert run("bench", compiled, "--against", "none", "--rounds", "1").exit_code == 0
    unknown = run("bench", compiled, "--model", digits, "--against", "abacus")
    assert unknown.exit_code == 2
    assert "onnxruntime" in unknown.stderr


def test_bench_of_a_program_for_another_machine_says_so(run, digits: Path, tmp_path: Path) -> None:
    words = ("--target", "riscv64-linux-gnu", "--no-verify", "--emit", "shared")
    assert run("compile", digits, "-o", tmp_path / "out", *words).exit_code == 0
    result = run("bench", tmp_path / "out", "--against", "none", "--rounds", "1")
    assert result.exit_code == 2 and "was compiled for riscv64-linux-gnu, this machine is" in result.stderr
    assert "ArtifactError" not in result.stderr


def test_bench_refuses_another_model(run, compiled: Path) -> None:
    result = run("bench", compiled, "--model", "zoo:lenet-5", "--rounds", "1")
    assert result.exit_code == 2


def test_bench_finds_the_model_again(run, digits: Path, tmp_path: Path) -> None:
    shutil.copy(digits, tmp_path / "model.onnx")
    assert run("compile", "model.onnx", "-o", "out").exit_code == 0
    assert run("bench", "out", "--rounds", "1").exit_code == 0
    (tmp_path / "model.onnx").unlink()
    lost = run("bench", "out", "--rounds", "1")
    assert lost.exit_code == 2
    assert "--model" in lost.stderr


def test_verify_agrees(run, compiled: Path, digits: Path, image: Path) -> None:
    result = run("verify", compiled, digits)
    assert result.exit_code == 0, result.output
    assert "agrees with ONNX Runtime" in result.stdout
    assert run("verify", compiled, digits, "--input", image, "--seed", "3", "--outputs").exit_code == 0
    found = json.loads(run("verify", compiled, digits, "--seed", "9", "--json").stdout)
    assert found["ok"] and found["layers"]


def test_verify_finds_changed_weights(run, compiled: Path, digits: Path, tmp_path: Path) -> None:
    """A program with one wrong weight: refused as damaged; with a matching hash, found by the numbers."""
    copy = tmp_path / "copy"
    shutil.copytree(compiled, copy)
    library = copy / "libdigits.so"
    weights = (copy / "src" / "weights.bin").read_bytes()
    data = bytearray(library.read_bytes())
    at = bytes(data).index(weights)
    first = np.frombuffer(weights, np.float32)[:64].copy()
    data[at : at + 256] = (first + 0.25).tobytes()
    library.write_bytes(bytes(data))
    damaged = run("verify", copy, digits)
    assert damaged.exit_code == 2
    assert "libdigits.so" in damaged.stderr
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["libdigits.so"] = sha256(library)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    wrong = run("verify", copy, digits, "--keep", "evidence")
    assert wrong.exit_code == 1, wrong.output
    assert "first wrong layer" in wrong.stdout
    assert (tmp_path / "evidence" / "report.txt").is_file()
