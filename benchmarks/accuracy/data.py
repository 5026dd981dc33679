"""The data sets of the shared material, read in a fixed order; pictures that come from one photograph are a group."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edgesmith.errors import BadInput

SIGN_PIXELS = 64
"""Height and width of the sign-language digits here; their files have 100."""


@dataclass(frozen=True)
class Labelled:
    """Samples with the number of their class; pictures are (N, C, H, W) u8."""

    pictures: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """A data set as its authors divide it."""

    train: Labelled
    test: Labelled


def existing(path: Path) -> Path:
    """The path; ``BadInput`` when there is nothing."""
    if not path.exists():
        raise BadInput("no such file or folder", where=str(path), hint="name the folder of the material: --material")
    return path


def fashion_mnist(material: Path) -> Split:
    """Fashion-MNIST (arXiv:1708.07747): 60,000 and 10,000 grey pictures of 28x28, 10 classes."""
    folder = material / "datasets" / "fashion_mnist"

    def read(part: str) -> Labelled:
        pictures = _idx(folder / f"{part}-images-idx3-ubyte.gz")
        return Labelled(pictures[:, None], _idx(folder / f"{part}-labels-idx1-ubyte.gz"))

    return Split(read("train"), read("t10k"))


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format of MNIST."""
    data = gzip.decompress(existing(path).read_bytes())
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def sign_language_digits(material: Path) -> Split:
    """Sign-language digits: 1,649 and 413 colour pictures of hands, 10 classes, divided by split.csv."""
    folder = material / "datasets" / "sign_language_digits"
    with existing(folder / "split.csv").open() as file:
        rows = list(csv.DictReader(file))

    def read(part: str) -> Labelled:
        wanted = [row for row in rows if row["split"] == part]
        size = (SIGN_PIXELS, SIGN_PIXELS)
        pictures = [
            np.asarray(Image.open(folder / row["file"]).convert("RGB").resize(size, Image.Resampling.BILINEAR))
            for row in wanted
        ]
        labels = np.array([int(row["label"]) for row in wanted], np.uint8)
        return Labelled(np.stack(pictures).transpose(0, 3, 1, 2), labels)

    return Split(read("train"), read("test"))


def ten_crops(image: np.ndarray, height: int, width: int) -> Iterator[np.ndarray]:
    """The four corners and the centre of a picture (H, W, C), each as it is and mirrored (Krizhevsky et al., 2012).

    Raises:
        ValueError: the picture is smaller than the crop.
    """
    rows, columns = image.shape[0] - height, image.shape[1] - width
    if min(rows, columns) < 0:
        raise ValueError(f"a picture of {image.shape[0]}x{image.shape[1]} has no crop of {height}x{width}")
    for top, left in ((0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)):
        crop = image[top : top + height, left : left + width]
        yield crop
        yield crop[:, ::-1]


def centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture (H, W, C)."""
    *_, crop, _ = ten_crops(image, height, width)
    return crop


@dataclass(frozen=True)
class Photos:
    """Photographs on disk, with the number of their class where it is known."""

    files: tuple[Path, ...]
    labels: np.ndarray | None = None

    def __getitem__(self, index: int) -> np.ndarray:
        """Pixels (H, W, 3) u8."""
        return np.asarray(Image.open(self.files[index]).convert("RGB"))

    def __len__(self) -> int:
        return len(self.files)


def pets(material: Path) -> Photos:
    """240 photographs of cats and dogs, with their class of ImageNet."""
    folder = material / "datasets" / "pets_imagenet24"
    with existing(folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["imagenet_index"]) for row in rows])
    return Photos(tuple(folder / row["file"] for row in rows), labels)


def pets_for_calibration(material: Path) -> Photos:
    """130 other photographs of cats and dogs."""
    folder = existing(material / "datasets" / "pets_imagenet24" / "images_unlabelled_calibration")
    return Photos(tuple(sorted(folder.glob("*.jpg"))))


def faces(material: Path) -> Photos:
    """Four photographs of two persons."""
    return Photos(tuple(sorted(existing(material / "datasets" / "faces_sample").glob("*.jpg"))))


def keywords(material: Path) -> Labelled:
    """720 spoken words as f32 cepstral coefficients (N, 49, 10, 1), 12 classes."""
    with np.load(existing(material / "datasets" / "speech_commands_v2_test" / "mfcc_49x10_mlperf_tiny.npz")) as data:
        return Labelled(data["x"], data["y"])


SPLITS: dict[str, Callable[[Path], Split]] = {
    "fashion-mnist": fashion_mnist,
    "sign-language-digits": sign_language_digits,
}
"""What networks are trained on."""
