"""Two artifacts of one network: its weights changed a little from the first to the second."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgesmith import api
from small_networks import residual_network


def _retrained() -> onnx.ModelProto:
    model = residual_network()
    (first, *_) = (t for t in model.graph.initializer if len(t.dims) == 4)
    changed = numpy_helper.to_array(first).copy()
    changed.flat[0] += np.float32(0.125)
    first.CopyFrom(numpy_helper.from_array(changed, first.name))
    return model


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("release")
    models = (residual_network(), _retrained())
    artifacts = [
        api.compile(model, output=folder / f"{i}", name="net", cache=False, verify=False)
        for i, model in enumerate(models)
    ]
    return artifacts[0].path, artifacts[1].path


@pytest.fixture
def first(built: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the first that a test may change."""
    return Path(shutil.copytree(built[0], tmp_path / "first"))


@pytest.fixture
def second(built: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(built[1], tmp_path / "second"))
