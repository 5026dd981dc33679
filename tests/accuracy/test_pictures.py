"""Crops, variations and inputs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from benchmarks.accuracy.data import centre, fashion_mnist, ten_crops
from benchmarks.accuracy.pictures import Picture, varied

from edgesmith.errors import BadInput


def test_ten_crops_are_corners_and_centre_and_their_mirrors() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    crops = list(ten_crops(image, 4, 4))
    assert len(crops) == 10
    for crop, mirror in zip(crops[::2], crops[1::2], strict=True):
        np.testing.assert_array_equal(crop[:, ::-1], mirror)
    corners = [image[:4, :4], image[:4, 4:], image[2:, :4], image[2:, 4:], image[1:5, 2:6]]
    np.testing.assert_array_equal(crops[::2], corners)
    np.testing.assert_array_equal(centre(image, 4, 4), image[1:5, 2:6])


def test_too_small_a_picture_has_no_crops() -> None:
    with pytest.raises(ValueError, match="no crop"):
        list(ten_crops(np.zeros((3, 8, 3), np.uint8), 4, 4))


def test_input_is_enlarged_padded_and_scaled() -> None:
    stored = np.array([[[[0, 255], [51, 102]]]], np.uint8)
    x = Picture(size=6, channels=3, enlarge=2, mean=0.2, deviation=0.5)(stored)
    assert x.shape == (1, 3, 6, 6)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[:, 0], x[:, 2])
    black, white = (0 - 0.2) / 0.5, (1 - 0.2) / 0.5
    expected = np.full((6, 6), black)
    expected[1:3, 3:5], expected[3:5, 1:3], expected[3:5, 3:5] = white, 0.0, 0.4
    np.testing.assert_allclose(x[0, 0], expected, atol=1e-6)


def test_variations_are_moved_and_mirrored_pictures() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(1, 256, (40, 2, 5, 4), np.uint8)
    found = varied(stored, np.random.default_rng(1), reach=1)
    seen = set()
    for before, after in zip(stored, found, strict=True):
        wide = np.pad(before, ((0, 0), (1, 1), (1, 1)))
        candidates = {
            (top, left, step): wide[:, top : top + 5, left : left + 4][..., ::step]
            for top in range(3)
            for left in range(3)
            for step in (1, -1)
        }
        matches = [key for key, c in candidates.items() if np.array_equal(c, after)]
        assert matches
        seen |= set(matches)
    assert len(seen) > 10
    np.testing.assert_array_equal(found, varied(stored, np.random.default_rng(1), reach=1))


def test_fashion_mnist_is_read_from_its_format(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "fashion_mnist"
    folder.mkdir(parents=True)
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 3, 4))
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
        labels = bytes([0, 0, 8, 1]) + (2).to_bytes(4, "big") + bytes([7, 9])
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    split = fashion_mnist(tmp_path)
    np.testing.assert_array_equal(split.test.pictures, pixels.reshape(2, 1, 3, 4))
    np.testing.assert_array_equal(split.train.labels, [7, 9])


def test_missing_material_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--material"):
        fashion_mnist(tmp_path)
