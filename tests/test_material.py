"""The shared models: each compiles, agrees layer by layer, and labels the photographs as ONNX Runtime does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesmith import api
from edgesmith.device import Artifact
from edgesmith.oracle import Oracle

MATERIAL = Path(__file__).parents[2] / "shared" / "material"
PHOTOS = MATERIAL / "datasets" / "pets_imagenet24"

pytestmark = [
    pytest.mark.material,
    pytest.mark.toolchain,
    pytest.mark.skipif(not MATERIAL.is_dir(), reason="the shared material is not beside the checkout"),
]


@dataclass(frozen=True)
class Model:
    """One shared model in scope: float networks without recurrence; language models and int8 come later."""

    path: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return Path(self.path).stem


MODELS = [
    Model("imagenet/SqueezeNet_fp32_from_fp16.onnx"),
    Model("imagenet/SqueezeNet_fp16.onnx"),
    Model("imagenet/mobilenet_v1_0.25_224_float.tf2onnx.onnx"),
    Model("face/version-RFB-320.onnx"),
    Model("face/version-RFB-320_simplified.onnx"),
    Model("kws/kws_ref_model_float32.tf2onnx.onnx", {"input_1": (1, 49, 10, 1)}),
    Model("kws_qdq/micro_kws_m_static_fp32.onnx"),
    Model("super_resolution/super_resolution.onnx", {"input": (1, 1, 224, 224)}),
]
LATER = ("int8", "qdq.onnx", "rnn/", "transformer/")
"""What later issues bring."""


def test_every_model_in_scope_is_listed() -> None:
    found = {p.relative_to(MATERIAL / "models").as_posix() for p in (MATERIAL / "models").rglob("*.onnx")}
    assert {m.path for m in MODELS} == {f for f in found if not any(word in f for word in LATER)}


def compiled(model: Model, folder: Path, **options: Any) -> Artifact:
    path = MATERIAL / "models" / model.path
    return api.compile(path, output=folder / "out", shapes=model.shapes, cache=False, emit=("shared",), **options)


@pytest.mark.parametrize(
    ("model", "target"),
    [*((m, "native") for m in MODELS), *((m, "portable") for m in MODELS[::3])],
    ids=lambda v: v if isinstance(v, str) else v.name,
)
def test_agrees_layer_by_layer(model: Model, target: str, tmp_path: Path) -> None:
    artifact = compiled(model, tmp_path, target=target)
    assert artifact.verification is not None and artifact.verification["ok"]
    result = api.verify(artifact, MATERIAL / "models" / model.path, seed=1)
    assert result.ok, result.report()
    for row in result.table():
        assert row["accumulated_error"] <= row["accumulated_tolerance"], row


def crop(photo: Path) -> np.ndarray:
    """The centre 224x224 of a photograph as u8 RGB."""
    image = np.asarray(Image.open(photo).convert("RGB"))
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    return image[top : top + 224, left : left + 224]


def caffe_style(image: np.ndarray) -> np.ndarray:
    """BGR minus the means of the training set, channels first."""
    means = np.array([103.939, 116.779, 123.68], np.float32)
    return (image[..., ::-1].astype(np.float32) - means).transpose(2, 0, 1)[None]


def tensorflow_style(image: np.ndarray) -> np.ndarray:
    """RGB from -1 to 1, channels last."""
    return ((image.astype(np.float32) - 127.5) / 127.5)[None]


@pytest.mark.parametrize(
    ("model", "prepare", "background", "accuracy"),
    [
        (MODELS[0], caffe_style, 0, 0.679),
        (MODELS[1], lambda image: caffe_style(image).astype(np.float16), 0, 0.679),
        (MODELS[2], tensorflow_style, 1, 0.646),
    ],
    ids=["squeezenet", "squeezenet-fp16", "mobilenet"],
)
def test_photographs_get_the_same_label_one_by_one(
    model: Model, prepare: Callable[[np.ndarray], np.ndarray], background: int, accuracy: float, tmp_path: Path
) -> None:
    artifact = compiled(model, tmp_path)
    oracle = Oracle(str(MATERIAL / "models" / model.path))
    (name,) = artifact.inputs
    (output,) = artifact.outputs
    rows = list(csv.DictReader((PHOTOS / "labels.csv").open()))
    assert len(rows) == 240
    right = 0
    for row in rows:
        x = prepare(crop(PHOTOS / row["file"]))
        y = artifact(x)
        assert isinstance(y, np.ndarray)
        expected = oracle.run({name: x})[output]
        assert y.argmax() == expected.argmax(), row["file"]
        right += int(y.argmax()) == int(row["imagenet_index"]) + background
    assert right / len(rows) == pytest.approx(accuracy, abs=0.005)


def test_faces_are_found_where_onnx_runtime_finds_them(tmp_path: Path) -> None:
    model = MODELS[3]
    artifact = compiled(model, tmp_path)
    oracle = Oracle(str(MATERIAL / "models" / model.path))
    photos = sorted((MATERIAL / "datasets" / "faces_sample").glob("*.jpg"))
    assert len(photos) == 4
    for photo in photos:
        image = Image.open(photo).convert("RGB").resize((320, 240), Image.Resampling.BILINEAR)
        x = ((np.asarray(image, np.float32) - 127) / 128).transpose(2, 0, 1)[None]
        got, expected = artifact(np.ascontiguousarray(x)), oracle.run({"input": x})
        assert isinstance(got, dict)
        faces = expected["scores"][0, :, 1] > 0.7
        assert faces.any()
        assert np.array_equal(got["scores"][0, :, 1] > 0.7, faces)
        np.testing.assert_allclose(got["boxes"][0, faces], expected["boxes"][0, faces], atol=1e-4)
