"""The public calls: arguments, determinism, files, errors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgesmith import zoo
from edgesmith.errors import BadInput, EdgesmithError

QUICK = ("lenet-5", "mobilenet-v3-small")


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


@pytest.mark.parametrize("name", QUICK)
def test_same_seed_same_bytes(name: str) -> None:
    first, second = (zoo.build(name, seed=3).SerializeToString() for _ in range(2))
    assert first == second
    assert zoo.build(name, seed=4).SerializeToString() != first


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    script = (
        "import hashlib; from edgesmith import zoo;"
        "print(hashlib.sha256(zoo.build('resnet-18').SerializeToString()).hexdigest())"
    )
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=one_thread, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(zoo.build("resnet-18").SerializeToString()).hexdigest()


def test_weights_do_not_depend_on_size_and_batch() -> None:
    published, other = zoo.build("shufflenet-v2-1.0"), zoo.build("shufflenet-v2-1.0", image_size=64, batch=3)
    assert [d.dim_value for d in other.graph.input[0].type.tensor_type.shape.dim] == [3, 3, 64, 64]
    mine, theirs = _weights(published), _weights(other)
    learned = [name for name in mine if not name.startswith("shape.")]
    assert len(learned) > 100
    for name in learned:
        np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize("name", ["shufflenet-v1", "ssd-mobilenet-v2"])
def test_batch_gives_each_picture_its_own_result(name: str) -> None:
    batched, single = (zoo.build(name, image_size=64, batch=b) for b in (2, 1))
    sessions = [
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
        for m in (batched, single)
    ]
    pictures = np.random.default_rng(1).standard_normal((2, 3, 64, 64), dtype=np.float32)
    together = sessions[0].run(None, {"input": pictures})
    for index in range(2):
        alone = sessions[1].run(None, {"input": pictures[index : index + 1]})
        for batch_output, output in zip(together, alone, strict=True):
            np.testing.assert_allclose(batch_output[index : index + 1], output, rtol=1e-3, atol=1e-3 * output.std())


@pytest.mark.parametrize("name", [n for n in zoo.names() if len(zoo.describe(n).widths) > 1])
def test_a_narrow_network_has_fewer_weights(name: str) -> None:
    widths = zoo.describe(name).widths
    assert 1.0 in widths
    counts = [sum(w.size for w in _weights(zoo.build(name, width=w)).values()) for w in widths[:2]]
    assert counts[0] < counts[1]


def test_classes() -> None:
    model = zoo.build("squeezenet-1.1", image_size=64, classes=7)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [1, 7]


def test_detectors_give_boxes_and_scores() -> None:
    for name, boxes in (
        ("yolo-tiny", 3 * (26 * 26 + 13 * 13)),
        ("ssd-mobilenet-v2", 3 * 400 + 6 * (100 + 25 + 9 + 4 + 1)),
    ):
        model = zoo.build(name)
        shapes = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in model.graph.output}
        assert shapes == {"boxes": [1, boxes, 4], "scores": [1, boxes, zoo.describe(name).classes]}


def test_save(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    zoo.save("lenet-5", path, seed=2)
    assert path.read_bytes() == zoo.build("lenet-5", seed=2).SerializeToString()
    zoo.save("lenet-5", path, seed=5)
    assert path.read_bytes() == zoo.build("lenet-5", seed=5).SerializeToString()
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_save_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgesmithError, match="cannot write"):
        zoo.save("lenet-5", tmp_path / "missing" / "net.onnx")


def test_save_leaves_nothing_behind_when_the_rename_fails(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(EdgesmithError, match="cannot write"):
        zoo.save("lenet-5", tmp_path / "net.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_unknown_name_suggests_close_ones() -> None:
    with pytest.raises(EdgesmithError) as caught:
        zoo.build("mobilenet-v22")
    assert "mobilenet-v2" in caught.value.hint
    assert "mobilenet-v22" in caught.value.where


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("resnet-18", {"width": 0.5}, "width 0.5"),
        ("lenet-5", {"seed": -1}, "seed is -1"),
        ("lenet-5", {"batch": 0}, "batch is 0"),
        ("lenet-5", {"classes": 0}, "classes is 0"),
        ("lenet-5", {"image_size": 0}, "image_size is 0"),
        ("alexnet", {"image_size": 40}, "too small"),
        ("unet", {"image_size": 100, "width": 0.25}, "Concat"),
    ],
)
def test_unsuitable_argument(name: str, arguments: dict[str, float], why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        zoo.build(name, **arguments)
    assert name in caught.value.where
    assert caught.value.hint
