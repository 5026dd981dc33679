"""ONNX Runtime's static quantiser, after its own preparation of the model (quant_pre_process)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGES = ()
"""Edgesmith itself depends on ONNX Runtime, as its reference: the same one quantises."""

_SETTINGS = "quantize_static after quant_pre_process: QDQ, activations u8, weights s8 with a scale per channel"

VARIANTS = {
    "ONNX Runtime, min-max": {
        "engine": "onnxruntime",
        "width": "int8",
        "settings": f"{_SETTINGS}, calibration MinMax (the default)",
        "options": {"calibrate_method": "MinMax"},
    },
    "ONNX Runtime, entropy": {
        "engine": "onnxruntime",
        "width": "int8",
        "settings": f"{_SETTINGS}, calibration Entropy (by default it keeps all of its 128 bins, so: MinMax)",
        "options": {"calibrate_method": "Entropy"},
    },
    "ONNX Runtime, percentile": {
        "engine": "onnxruntime",
        "width": "int8",
        "settings": f"{_SETTINGS}, calibration Percentile (99.999 by default)",
        "options": {"calibrate_method": "Percentile"},
    },
}


def convert(model: Path, folder: Path) -> None:
    import numpy as np
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options: dict[str, Any] = json.loads((folder / "options.json").read_text())
    prepared = folder / "prepared.onnx"
    # Its symbolic shape inference needs another package and finds nothing that ONNX's own does not, in static shapes.
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    name = onnx.load(prepared).graph.input[0].name
    samples = np.load(folder / "calibration.npy", mmap_mode="r")

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._rest, None)
            return None if sample is None else {name: np.ascontiguousarray(sample[None])}

    quantize_static(
        str(prepared),
        str(folder / "model.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[options["calibrate_method"]],
    )
    prepared.unlink()
