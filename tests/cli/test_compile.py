"""``edgesmith compile``: options reach the artifact, and its summary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgesmith
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.toolchain


def test_summary_and_artifact(run, digits: Path, tmp_path: Path) -> None:
    result = run("compile", digits, "-o", "out", "--name", "digits", "--mean", "0.5", "--bgr")
    assert result.exit_code == 0, result.output
    for line in ("steps", "kernels", "arena", "weights", "resident", "verified", "logits: error"):
        assert line in result.stdout
    artifact = edgesmith.load(tmp_path / "out")
    artifact.check()
    assert artifact.manifest["preprocess"]["mean"] == [0.5]
    assert artifact.manifest["preprocess"]["bgr"] is True
    assert (tmp_path / "out" / artifact.manifest["source"]).resolve() == digits.resolve()


def test_options_reach_the_program(run, digits: Path, tmp_path: Path) -> None:
    arguments = ("--target", "portable", "--threads", "2", "--no-verify", "--json", "--name", "other")
    result = run("compile", digits, "-o", "out", *arguments)
    assert result.exit_code == 0, result.output
    manifest = json.loads(result.stdout)
    assert (manifest["name"], manifest["threads"], manifest["isas"]) == ("other", 2, [])
    x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    expected = Oracle(str(digits)).run({"image": x})["logits"]
    assert np.abs(edgesmith.load(tmp_path / "out")(x) - expected).max() < 1e-4


def test_shapes_and_bindings(run, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    k = helper.make_tensor_value_info("k", TensorProto.FLOAT, [3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "scaled", [x, k], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "scaled.onnx")
    missing = run("compile", "scaled.onnx", "-o", "out")
    assert missing.exit_code == 2
    assert "--shape" in missing.stderr
    result = run("compile", "scaled.onnx", "-o", "out", "--shape", "x=2,3", "--bind", "k=1,2,3")
    assert result.exit_code == 0, result.output
    result = edgesmith.load(tmp_path / "out")(np.ones((2, 3), np.float32))
    assert np.array_equal(result, [[1, 2, 3], [1, 2, 3]])


def test_foreign_folder_is_left_alone(run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    precious = tmp_path / "out" / "precious.txt"
    precious.write_text("mine")
    result = run("compile", digits, "-o", "out")
    assert result.exit_code == 2
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--shape", "x", "--shape x=1,3,224,224"),
        ("--shape", "x=1,a", "is not a shape"),
        ("--bind", "k=one", "neither a number"),
        ("--bind", "k=@nowhere.npy", "nowhere.npy"),
        ("--target", "z80", "not a target"),
        ("--compiler", "no-such-compiler", "not installed"),
        ("--tune", "forever", "tune"),
        ("--std", "0", "divides by zero"),
        ("--mean", "a", "--mean"),
        ("--size", "big", "--size"),
        ("--layout", "chwn", "nchw"),
    ],
)
def test_wrong_options_are_explained(run, digits: Path, option: str, value: str, hint: str) -> None:
    result = run("compile", digits, "-o", "out", option, value)
    assert result.exit_code == 2, result.output
    assert hint in result.stderr
    assert not Path("out").exists()


def test_zoo_network(run, tmp_path: Path) -> None:
    result = run("compile", "zoo:lenet-5")
    assert result.exit_code == 0, result.output
    artifact = edgesmith.load(tmp_path / "lenet-5.edgesmith")
    assert artifact.manifest["source"] == "zoo:lenet-5"
