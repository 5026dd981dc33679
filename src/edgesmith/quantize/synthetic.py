"""Inputs made up, for models without calibration data."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgesmith.ir import DType, TensorType
from edgesmith.preprocess import Preprocess

__all__ = ["synthetic"]


def synthetic(kind: TensorType, rng: np.random.Generator, picture: Preprocess) -> np.ndarray:
    """One input: a picture where the input takes pictures, otherwise noise of unit variance, or small integers.

    Pictures have the spectrum of photographs (amplitude falls with frequency) and go through ``picture`` like real
    ones, so that their numbers have the range that the model was trained for.
    """
    if picture.takes(kind):
        samples = [picture.image(_photograph(rng, kind), kind) for _ in range(kind.shape[0])]
        return np.concatenate(samples)
    if kind.dtype.is_float:
        return rng.standard_normal(kind.shape).astype(kind.dtype.numpy)
    if kind.dtype is DType.BOOL:
        return rng.integers(0, 2, kind.shape).astype(np.bool_)
    return rng.integers(0, 2, kind.shape).astype(kind.dtype.numpy)


def _photograph(rng: np.random.Generator, kind: TensorType) -> Image.Image:
    """Noise whose amplitude falls with the inverse of the frequency, the same in all colours to a good part."""
    height, width = 256, 256
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = []
    for _ in range(4):
        spectrum = np.fft.fft2(rng.standard_normal((height, width))) / frequency
        plane = np.fft.ifft2(spectrum).real
        planes.append(plane / plane.std())
    grey, *colours = planes
    pixels = np.stack([0.85 * grey + 0.5 * c for c in colours], axis=-1)
    bright, contrast = rng.uniform(90, 160), rng.uniform(35, 75)
    return Image.fromarray(np.clip(bright + contrast * pixels, 0, 255).astype(np.uint8), "RGB")
