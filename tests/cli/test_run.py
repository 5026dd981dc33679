"""``edgesmith run``: pictures, arrays, several inputs, labels, saved preprocessing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import edgesmith
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.toolchain


def _reference(digits: Path, x: np.ndarray) -> np.ndarray:
    return Oracle(str(digits)).run({"image": x})["logits"]


def test_array_in_file_out(run, compiled: Path, digits: Path, image: Path, tmp_path: Path) -> None:
    result = run("run", compiled, "--input", image, "--output", "y.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "y.npz") as found:
        assert np.abs(found["logits"] - _reference(digits, np.load(image))).max() < 1e-4


def test_several_files_are_stacked(run, compiled: Path, digits: Path, tmp_path: Path) -> None:
    xs = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    for i, x in enumerate(xs):
        np.save(f"{i}.npy", x)  # without the batch axis
    result = run("run", compiled, "-i", "0.npy", "-i", "1.npy", "-i", "2.npy", "-o", "y.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "y.npz") as found:
        expected = np.stack([_reference(digits, x[None]) for x in xs])
        assert found["logits"].shape == (3, 1, 10)
        assert np.abs(found["logits"] - expected).max() < 1e-4


def test_picture_with_labels(run, compiled: Path, digits: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Path("labels.txt").write_text("\n".join(f"digit-{n}" for n in range(10)))
    result = run("run", compiled, "--input", "photo.png", "--labels", "labels.txt", "--top", "3")
    assert result.exit_code == 0, result.output
    best = int(_reference(digits, (pixels / np.float32(255))[None, None].astype(np.float32)).argmax())
    listed = [line.split()[1] for line in result.stdout.splitlines() if "digit-" in line]
    assert listed[0] == f"digit-{best}"
    assert len(listed) == 3


def test_saved_preprocessing_is_used_and_hashes_stay_right(run, compiled: Path, digits: Path, tmp_path: Path) -> None:
    artifact = tmp_path / "copy"
    shutil.copytree(compiled, artifact)
    pixels = np.random.default_rng(6).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    first = run("run", artifact, "-i", "photo.png", "--scale", "1", "--mean", "7", "--std", "3", "--save")
    assert first.exit_code == 0, first.output
    edgesmith.load(artifact).check()
    second = run("run", artifact, "-i", "photo.png", "-o", "y.npz")
    assert second.exit_code == 0, second.output
    x = ((pixels.astype(np.float64) - 7) / 3).astype(np.float32)[None, None]
    with np.load(tmp_path / "y.npz") as found:
        assert np.allclose(found["logits"], _reference(digits, x), atol=1e-2)


def test_two_inputs_by_name_order_and_archive(run, tmp_path: Path) -> None:
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "aby"}
    node = helper.make_node("Sub", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "sub", [values["a"], values["b"]], [values["y"]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "sub.onnx")
    edgesmith.compile("sub.onnx", output="out")
    a, b = np.float32([5, 7]), np.float32([1, 2])
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.savez("both.npz", a=a, b=b)
    for inputs in (["a.npy", "b.npy"], ["b=b.npy", "a=a.npy"], ["b=b.npy", "a.npy"], ["both.npz"]):
        result = run("run", "out", "-o", "y.npz", *(part for i in inputs for part in ("-i", i)))
        assert result.exit_code == 0, result.output
        with np.load(tmp_path / "y.npz") as found:
            assert found["y"].tolist() == [4, 5]
    assert run("run", "out", "-i", "a.npy").exit_code == 2
    assert run("run", "out", "-i", "a.npy", "-i", "b.npy", "-i", "a.npy").exit_code == 2


def test_wrong_inputs_are_explained(run, compiled: Path) -> None:
    np.save("double.npy", np.zeros((1, 1, 8, 8)))
    np.save("small.npy", np.zeros((1, 1, 4, 4), np.float32))
    Path("text.jpg").write_text("no picture")
    Path("broken.npy").write_bytes(b"\x93NUMPY\x01")
    Path("names.txt").write_text("one\ntwo\n")
    np.save("good.npy", np.zeros((1, 1, 8, 8), np.float32))
    for arguments, message in (
        ([], "no input"),
        (["-i", "double.npy"], "float64"),
        (["-i", "small.npy"], "(1, 1, 4, 4)"),
        (["-i", "text.jpg"], "neither a picture nor an array"),
        (["-i", "broken.npy"], "cannot be read"),
        (["-i", "nowhere.png"], "no such file"),
        (["-i", "good.npy", "--labels", "names.txt"], "2 names for 10 values"),
        (["-i", "good.npy", "--labels", "nowhere.txt"], "nowhere.txt"),
        (["-i", "good.npy", "-o", "no/folder/y.npz"], "no/folder"),
    ):
        result = run("run", compiled, *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert message in result.stderr
