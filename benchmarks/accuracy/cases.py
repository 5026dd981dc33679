"""The rows of the table: trained networks, each with samples to calibrate on and others to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edgesmith.errors import BadInput

from .data import SPLITS, Photos, centre, faces, keywords, pets, pets_for_calibration, ten_crops
from .judging import Classes, Faces, Judgement
from .trained import TRAINED, Trained

CALIBRATION_PICTURES = 256
"""Of Fashion-MNIST and the sign-language digits: the first so many of a random order of the training set."""
ORDER_SEED = 0
CROP = 224
FACE_SIZE = (320, 240)
"""Width and height of the detector's input, in pixels."""
FACE_CROP = 0.8
"""Height and width of a crop, as a share of the photograph's."""
CALIBRATION_KEYWORDS = 6
"""Every so-manieth recording calibrates; the others judge."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a model with one input, each a batch of one.

    Args:
        read: gives them anew at each call, in the same order.
        count: how many.
        labels: the right class of each, as the model numbers them; None where nobody knows.
        groups: number of the photograph that each comes from; None where each is one of its own.
    """

    read: Callable[[], Iterator[np.ndarray]]
    count: int
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """A model with its data; each function gets the folder of the material.

    Args:
        name: in the table.
        data: what it is judged by, in words.
        model: the ONNX file.
        test, calibration: samples that have nothing in common.
        shape: of the input.
        judgement: what its outputs mean.
    """

    name: str
    data: str
    model: Callable[[Path], Path]
    test: Callable[[Path], Samples]
    calibration: Callable[[Path], Samples]
    shape: tuple[int, ...]
    judgement: Judgement


def _of_trained(net: Trained) -> Case:
    def model(material: Path) -> Path:
        if not net.file.is_file():
            hint = f"train it: python -m benchmarks.accuracy.train {net.name}"
            raise BadInput("the network is not trained", where=net.name, hint=hint)
        return net.file

    def test(material: Path) -> Samples:
        data = SPLITS[net.data](material).test
        return Samples(lambda: (net.picture(p[None]) for p in data.pictures), len(data.labels), data.labels)

    def calibration(material: Path) -> Samples:
        pictures = SPLITS[net.data](material).train.pictures
        chosen = np.random.default_rng(ORDER_SEED).permutation(len(pictures))[:CALIBRATION_PICTURES]
        return Samples(lambda: (net.picture(pictures[i : i + 1]) for i in chosen), len(chosen))

    size, channels = net.picture.size, net.picture.channels
    count = {"fashion-mnist": "10,000 test pictures", "sign-language-digits": "413 test pictures"}[net.data]
    return Case(net.name, count, model, test, calibration, (1, channels, size, size), Classes())


def _caffe_style(crop: np.ndarray) -> np.ndarray:
    """BGR minus the means of the training set, channels first."""
    means = np.array([103.939, 116.779, 123.68], np.float32)
    return np.ascontiguousarray((crop[..., ::-1].astype(np.float32) - means).transpose(2, 0, 1)[None])


def _tensorflow_style(crop: np.ndarray) -> np.ndarray:
    """RGB from -1 to 1, channels last."""
    return ((crop.astype(np.float32) - 127.5) / 127.5)[None]


def _ten_crops_of_each(photos: Photos, prepare: Callable[[np.ndarray], np.ndarray], background: int) -> Samples:
    groups = np.repeat(np.arange(len(photos)), 10)
    labels = None if photos.labels is None else photos.labels[groups] + background
    crops = lambda: (prepare(c) for i in range(len(photos)) for c in ten_crops(photos[i], CROP, CROP))  # noqa: E731
    return Samples(crops, len(groups), labels, groups)


def _of_imagenet(
    name: str,
    file: str,
    prepare: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    background: int,
) -> Case:
    def calibration(material: Path) -> Samples:
        photos = pets_for_calibration(material)
        return Samples(lambda: (prepare(centre(photos[i], CROP, CROP)) for i in range(len(photos))), len(photos))

    return Case(
        name,
        "240 photographs, 10 crops each",
        lambda material: material / "models" / "imagenet" / file,
        lambda material: _ten_crops_of_each(pets(material), prepare, background),
        calibration,
        shape,
        Classes(),
    )


def _keyword_spotting() -> Case:
    def part(material: Path, calibrates: bool) -> Samples:
        data = keywords(material)
        chosen = np.flatnonzero((np.arange(len(data.labels)) % CALIBRATION_KEYWORDS == 0) == calibrates)
        inputs = data.pictures[chosen]
        return Samples(lambda: (x[None] for x in inputs), len(chosen), data.labels[chosen])

    return Case(
        "ds-cnn (keywords)",
        "600 recordings",
        lambda material: material / "models" / "kws" / "kws_ref_model_float32.tf2onnx.onnx",
        lambda material: part(material, False),
        lambda material: part(material, True),
        (1, 49, 10, 1),
        Classes(),
    )


def _face_detection() -> Case:
    def part(material: Path, chosen: Sequence[int]) -> Samples:
        photos = faces(material)

        def read() -> Iterator[np.ndarray]:
            for i in chosen:
                photo = photos[i]
                height, width = (int(FACE_CROP * extent) for extent in photo.shape[:2])
                for crop in ten_crops(photo, height, width):
                    small = Image.fromarray(np.ascontiguousarray(crop)).resize(FACE_SIZE, Image.Resampling.BILINEAR)
                    yield np.ascontiguousarray(((np.asarray(small, np.float32) - 127) / 128).transpose(2, 0, 1)[None])

        return Samples(read, 10 * len(chosen), None, np.repeat(np.arange(len(chosen)), 10))

    return Case(
        "ultraface-rfb-320",
        "2 photographs, 10 crops each",
        lambda material: material / "models" / "face" / "version-RFB-320.onnx",
        lambda material: part(material, (1, 3)),
        lambda material: part(material, (0, 2)),
        (1, 3, FACE_SIZE[1], FACE_SIZE[0]),
        Faces(),
    )


CASES = (
    *(_of_trained(net) for net in TRAINED),
    _of_imagenet(
        "squeezenet (ImageNet)", "SqueezeNet_fp32_from_fp16.onnx", _caffe_style, (1, 3, CROP, CROP), background=0
    ),
    _of_imagenet(
        "mobilenet-v1-0.25 (ImageNet)",
        "mobilenet_v1_0.25_224_float.tf2onnx.onnx",
        _tensorflow_style,
        (1, CROP, CROP, 3),
        background=1,
    ),
    _keyword_spotting(),
    _face_detection(),
)
