"""NNCF's post-training quantisation of ONNX models with its defaults, fast bias correction among them."""

from __future__ import annotations

from pathlib import Path

PACKAGES = ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.31.1", "numpy==2.4.6")

VARIANTS = {
    "NNCF": {
        "engine": "onnxruntime",
        "width": "int8",
        "settings": "nncf.quantize with its defaults, all of the calibration samples",
    },
}


def convert(model: Path, folder: Path) -> None:
    import nncf
    import numpy as np
    import onnx

    float_model = onnx.load(model)
    name = float_model.graph.input[0].name
    samples = np.load(folder / "calibration.npy", mmap_mode="r")
    dataset = nncf.Dataset([{name: np.ascontiguousarray(sample[None])} for sample in samples])
    onnx.save(nncf.quantize(float_model, dataset, subset_size=len(samples)), folder / "model.onnx")
