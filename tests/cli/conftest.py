"""A compiled model, and the command line in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import edgesmith
from edgesmith.cli.app import app

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def digits() -> Path:
    return DIGITS


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that tests only read."""
    folder = tmp_path_factory.mktemp("artifact") / "digits"
    return edgesmith.compile(DIGITS, output=folder, name="digits").path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(3).random((1, 1, 8, 8), np.float32))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Calls ``edgesmith`` in an empty folder; the result has ``exit_code``, ``stdout`` and ``stderr``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments])

    yield call
