"""The float model as it is: the reference, and the float program next to it."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGES = ()

VARIANTS = {
    "float, ONNX Runtime": {"engine": "onnxruntime", "width": "f32", "settings": "the reference of every comparison"},
    "float, Edgesmith": {"engine": "edgesmith", "width": "f32", "settings": "the compiled float program"},
}


def convert(model: Path, folder: Path) -> None:
    shutil.copyfile(model, folder / "model.onnx")
