"""ncnn on the CPU, fp32 storage and arithmetic; models converted by pnnx. It has no batches: images run one by one."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("ncnn==1.0.20261020", "numpy==2.4.6")
# PyTorch, on which pnnx depends, is for reading models of PyTorch.
CONVERTER = ("onnx==1.23.2", "numpy==2.4.6", "--no-deps", "pnnx==20261020")

OPTIONS = {
    "use_fp16_packed": False,
    "use_fp16_storage": False,
    "use_fp16_arithmetic": False,
    "use_bf16_storage": False,
    "use_int8_inference": False,
    "use_packing_layout": True,
    "use_sgemm_convolution": True,
    "use_winograd_convolution": True,
    "use_vulkan_compute": False,
}


def convert(model: Path, folder: Path) -> None:
    import onnx

    found = onnx.load(model)
    for value in (*found.graph.input, *found.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del found.graph.value_info[:]
    single = folder / "single.onnx"
    onnx.save(found, single)
    spec = importlib.util.find_spec("pnnx")  # the package itself imports PyTorch; its program stands beside it
    assert spec is not None and spec.origin is not None
    program = Path(spec.origin).parent / "pnnx"
    program.chmod(0o755)
    files = {
        "ncnnparam": "model.param",
        "ncnnbin": "model.bin",
        "ncnnpy": "ncnn.py",
        "pnnxparam": "pnnx.param",
        "pnnxbin": "pnnx.bin",
        "pnnxpy": "pnnx.py",
        "pnnxonnx": "pnnx.onnx",
    }
    told = [f"{key}={folder / name}" for key, name in files.items()]
    subprocess.run([str(program), str(single), "fp16=0", *told], check=True)
    for file in folder.iterdir():
        if file.name not in ("model.param", "model.bin"):
            file.unlink()


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[tuple[Callable[[], object], Callable[[], list[np.ndarray]]], dict[str, Any]]:
    import ncnn

    net = ncnn.Net()
    options = {k: v for k, v in OPTIONS.items() if hasattr(net.opt, k)}
    for key, value in options.items():
        setattr(net.opt, key, value)
    net.opt.num_threads = threads
    if net.load_param(str(folder / "model.param")) or net.load_model(str(folder / "model.bin")):
        raise RuntimeError("ncnn refuses the converted model")
    arrays = list(feeds.values())
    if len(net.input_names()) != len(arrays) or len(net.output_names()) != len(outputs):
        raise RuntimeError("the converted model has other inputs or outputs")
    batch = arrays[0].shape[0]
    images = [[ncnn.Mat(x[i]) for x in arrays] for i in range(batch)]

    def one(image: list[Any]) -> list[Any]:
        extractor = net.create_extractor()
        for name, mat in zip(net.input_names(), image, strict=True):
            extractor.input(name, mat)
        return [extractor.extract(name)[1] for name in net.output_names()]

    results: list[list[Any]] = []

    def run() -> None:
        results[:] = [one(image) for image in images]

    def read() -> list[np.ndarray]:
        return [np.stack([np.array(image[k]) for image in results]) for k in range(len(outputs))]

    return (run, read), {"version": ncnn.__version__, **options, "threads": threads, "batch": "images one by one"}
