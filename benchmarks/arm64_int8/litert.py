"""LiteRT in int8: onnx2tf and TensorFlow's quantiser make the model from floats, all else is as in
``edgesmith.bench.peers.litert``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

FLOAT = Path(__file__).parents[2] / "src/edgesmith/bench/peers/litert.py"
SAMPLES = 4


def _float() -> Any:
    spec = importlib.util.spec_from_file_location("litert_float", FLOAT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert(model: Path, folder: Path) -> None:
    import onnx

    (value,) = onnx.load(model, load_external_data=False).graph.input
    _, channels, height, width = (d.dim_value for d in value.type.tensor_type.shape.dim)
    samples = folder / "samples.npy"
    np.save(samples, np.random.default_rng(0).uniform(-1.0, 1.0, (SAMPLES, height, width, channels)).astype(np.float32))
    told = ["--output_integer_quantized_tflite", "--custom_input_op_name_np_data_path", value.name, str(samples)]
    told += [str([[[[0.0] * channels]]]), str([[[[1.0] * channels]]])]
    _float().onnx2tf(model, folder, told, "integer_quant")
    samples.unlink()


def load(*arguments: Any) -> Any:
    return _float().load(*arguments)
