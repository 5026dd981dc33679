"""Pictures to inputs: every convention against the formula written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgesmith.errors import BadInput
from edgesmith.ir import DType, TensorType
from edgesmith.preprocess import Preprocess, load_arrays, load_input

NCHW = TensorType((1, 3, 6, 8), DType.F32)
NHWC = TensorType((1, 6, 8, 3), DType.F32)


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A picture of the input's own size: no resampling takes part."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_default_is_zero_to_one_in_rgb(photo: tuple[Path, np.ndarray]) -> None:
    path, pixels = photo
    x = Preprocess().picture(path, NCHW)
    assert x.dtype == np.float32 and x.shape == NCHW.shape
    assert np.allclose(x[0].transpose(1, 2, 0), pixels / 255, atol=1e-7)


def test_imagenet_convention(photo: tuple[Path, np.ndarray]) -> None:
    path, pixels = photo
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = Preprocess(mean=mean, std=std).picture(path, NHWC)
    assert np.allclose(x[0], (pixels / 255 - mean) / std, atol=1e-6)


def test_caffe_convention(photo: tuple[Path, np.ndarray]) -> None:
    path, pixels = photo
    mean = (104.0, 117.0, 123.0)
    x = Preprocess(scale=1.0, mean=mean, bgr=True).picture(path, NCHW)
    assert np.allclose(x[0].transpose(1, 2, 0), pixels[:, :, ::-1].astype(float) - mean)


def test_integer_inputs_take_pixels_as_they_are(photo: tuple[Path, np.ndarray]) -> None:
    path, pixels = photo
    x = Preprocess().picture(path, TensorType(NHWC.shape, DType.U8))
    assert x.dtype == np.uint8
    assert np.array_equal(x[0], pixels)
    shifted = Preprocess(mean=(128.0,)).picture(path, TensorType(NHWC.shape, DType.I8))
    assert np.array_equal(shifted[0], pixels.astype(int) - 128)


def test_grey_model_takes_colour_pictures(photo: tuple[Path, np.ndarray]) -> None:
    x = Preprocess().picture(photo[0], TensorType((1, 1, 6, 8), DType.F32))
    grey = np.asarray(Image.open(photo[0]).convert("L"))
    assert np.allclose(x[0, 0], grey / 255, atol=1e-7)


def test_crop_keeps_proportions_and_stretch_does_not(tmp_path: Path) -> None:
    """Left and right thirds black, middle white: a square crop of the middle is white, a stretched picture is not."""
    pixels = np.zeros((30, 90), np.uint8)
    pixels[:, 30:60] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    square = TensorType((1, 1, 10, 10), DType.F32)
    assert Preprocess(fit="crop").picture(tmp_path / "wide.png", square)[..., 1:-1].min() > 0.99
    assert Preprocess(fit="stretch").picture(tmp_path / "wide.png", square)[..., :2].max() < 0.01


def test_layout_follows_the_shape_unless_given(photo: tuple[Path, np.ndarray]) -> None:
    ambiguous = TensorType((1, 3, 6, 3), DType.F32)
    assert Preprocess(layout="nchw").picture(photo[0], ambiguous).shape == ambiguous.shape
    with pytest.raises(BadInput, match="takes no pictures"):
        Preprocess(layout="nhwc").picture(photo[0], NCHW)
    with pytest.raises(BadInput, match="takes no pictures"):
        Preprocess().picture(photo[0], TensorType((1, 10), DType.F32))
    with pytest.raises(BadInput, match="compiled for 6x8"):
        Preprocess(size=(5, 8)).picture(photo[0], NCHW)
    with pytest.raises(BadInput, match="2 values for 3 channels"):
        Preprocess(mean=(1.0, 2.0)).picture(photo[0], NCHW)


numbers = st.floats(-1e3, 1e3)
settings_of_pictures = st.builds(
    Preprocess,
    size=st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    fit=st.sampled_from(("crop", "stretch")),
    scale=st.none() | numbers,
    mean=st.lists(numbers, min_size=1, max_size=3).map(tuple),
    std=st.lists(numbers.filter(bool), min_size=1, max_size=3).map(tuple),
    bgr=st.booleans(),
    layout=st.sampled_from((None, "nchw", "nhwc")),
)


@given(settings_of_pictures)
@settings(max_examples=50)
def test_survives_json(preprocess: Preprocess) -> None:
    assert Preprocess.from_json(preprocess.to_json()) == preprocess


@pytest.mark.parametrize(
    "data", [{}, {**Preprocess().to_json(), "size": [1]}, {**Preprocess().to_json(), "mean": None}]
)
def test_damaged_settings_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Preprocess.from_json(data)


@given(junk=st.binary(max_size=200), suffix=st.sampled_from((".png", ".npy", ".npz", ".jpg", "")))
@settings(max_examples=100)
def test_junk_is_refused(tmp_path_factory: pytest.TempPathFactory, junk: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("junk") / f"file{suffix}"
    path.write_bytes(junk)
    with pytest.raises(BadInput):
        load_input(path, NCHW, Preprocess())


def test_truncated_pictures_are_refused(photo: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    data = photo[0].read_bytes()
    for size in range(8, len(data) - 20, 7):
        cut = tmp_path / "cut.png"
        cut.write_bytes(data[:size])
        with pytest.raises(BadInput):
            Preprocess().picture(cut, NCHW)


def test_arrays(tmp_path: Path) -> None:
    x = np.arange(3 * 6 * 8, dtype=np.float32).reshape(3, 6, 8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    assert load_input(tmp_path / "x.npy", NCHW, Preprocess()).shape == NCHW.shape
    assert list(load_arrays(tmp_path / "x.npz") or {}) == ["x"]
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput):
        load_arrays(tmp_path / "objects.npy")
