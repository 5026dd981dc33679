"""What the examples in C, C++ and Rust share: the compiled model, a picture, and what ONNX Runtime says about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgesmith
from edgesmith.oracle import Oracle

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "digits" / "digits.onnx"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "digits"
    return edgesmith.compile(MODEL, output=folder, name="digits", verify=False).path


@pytest.fixture(scope="session")
def picture() -> Path:
    return EXAMPLES / "c_api" / "seven.pgm"


@pytest.fixture(scope="session")
def check_scores(picture: Path) -> Callable[[str], None]:
    """Asserts that a program printed the scores of ONNX Runtime for the picture."""
    values = [int(n) for n in picture.read_text().split()[1:]]
    width, height, top = values[:3]
    image = (np.array(values[3:], np.float32) / top).reshape(1, 1, height, width)
    expected = Oracle(str(MODEL)).run({"image": image})["logits"][0]

    def check(printed: str) -> None:
        scores = [float(score) for score in re.findall(r"^\d: +(-?[\d.]+)$", printed, re.MULTILINE)]
        assert np.abs(np.array(scores) - expected).max() < 1e-3
        assert f"digit: {expected.argmax()}" in printed

    return check
