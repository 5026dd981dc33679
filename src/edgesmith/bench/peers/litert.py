"""LiteRT (TensorFlow Lite) with the XNNPACK delegate, which it takes by itself; models converted by onnx2tf."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("ai-edge-litert==2.3.0", "numpy==2.4.6")
CONVERTER = ("onnx2tf==1.29.24",)


def convert(model: Path, folder: Path) -> None:
    onnx2tf(model, folder, (), "float32")


def onnx2tf(model: Path, folder: Path, options: Sequence[str], kind: str) -> None:
    """What the converter makes with more options; ``kind`` is how the name of the wanted file ends."""
    # Pictures that it would download otherwise, to try the model with.
    pictures = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    pictures_file = folder / "calibration_image_sample_data_20x128x128x3_float32.npy"
    np.save(pictures_file, pictures)
    program = Path(sys.executable).parent / "onnx2tf"
    told = ["--input_onnx_file_path", str(model), "--output_folder_path", "made", "--not_use_onnxsim", *options]
    subprocess.run([sys.executable, str(program), *told], cwd=folder, check=True)
    (folder / "made" / f"{model.stem}_{kind}.tflite").rename(folder / "model.tflite")
    pictures_file.unlink()
    shutil.rmtree(folder / "made")


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[tuple[Callable[[], object], Callable[[], list[np.ndarray]]], dict[str, Any]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    places = interpreter.get_input_details()
    for (name, x), place in zip(feeds.items(), _named(places, list(feeds)), strict=True):
        interpreter.set_tensor(place["index"], _fit(x, tuple(place["shape"]), name))

    def read() -> list[np.ndarray]:
        found = _named(interpreter.get_output_details(), outputs)
        return [interpreter.get_tensor(place["index"]) for place in found]

    settings = {"version": metadata.version("ai-edge-litert"), "delegate": "XNNPACK", "num_threads": threads}
    return (interpreter.invoke, read), settings


def _named(details: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The details in the order of ``names`` where those can be told, else as they are."""
    if len(details) != len(names):
        raise RuntimeError(f"the converted model has {len(details)} inputs or outputs instead of {len(names)}")
    by_name = {name: d for d in details for name in names if d["name"].removesuffix(":0").endswith(name)}
    return [by_name[n] for n in names] if len(by_name) == len(names) else details


def _fit(x: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array with its axes moved to ``shape``: the converter puts the channels last."""
    last = (0, *range(2, x.ndim), 1) if x.ndim > 2 else tuple(range(x.ndim))
    for order in (tuple(range(x.ndim)), last, *itertools.permutations(range(x.ndim))):
        if tuple(x.shape[i] for i in order) == shape:
            return np.ascontiguousarray(x.transpose(order))
    raise RuntimeError(f"{name} of shape {x.shape} does not fit {shape}")
