"""MNN on the CPU, precision "high" (fp32); models converted by its own converter.

A session puts intermediate values where its inputs lie, so that they are copied in before each inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("MNN==3.6.1", "numpy==2.4.6")

CONFIGURATION = {"backend": "CPU", "precision": "high", "memory": "high", "power": "high"}


def convert(model: Path, folder: Path) -> None:
    # What the command mnnconvert calls. The command also installs a logging package and reports its use.
    import _tools

    target = folder.absolute() / "model.mnn"
    files = ["--modelFile", str(model.absolute()), "--MNNModel", str(target)]
    told = ["--framework", "ONNX", *files, "--bizCode", "bench"]
    # A conversion that ends early leaves a file in the working folder.
    with chdir(folder):
        _tools.mnnconvert(["mnnconvert", *told])
    if not target.is_file():
        raise RuntimeError("MNN cannot convert the model")


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[tuple[Callable[[], object], Callable[[], list[np.ndarray]]], dict[str, Any]]:
    import MNN

    net = MNN.Interpreter(str(folder / "model.mnn"))
    session = net.createSession({**CONFIGURATION, "numThread": threads})
    layout = MNN.Tensor_DimensionType_Caffe

    def host(array: np.ndarray) -> Any:
        return MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, layout)

    inputs = [(net.getSessionInput(session, name), host(x)) for name, x in feeds.items()]

    def run() -> None:
        for place, x in inputs:
            place.copyFrom(x)
        net.runSession(session)

    def read() -> list[np.ndarray]:
        found = []
        for name in outputs:
            tensor = net.getSessionOutput(session, name)
            copy = host(np.zeros(tensor.getShape(), np.float32))
            tensor.copyToHostTensor(copy)
            found.append(np.array(copy.getNumpyData(), np.float32).reshape(tensor.getShape()))
        return found

    settings = {"version": MNN.version(), **CONFIGURATION, "numThread": threads, "inputs": "copied for each"}
    return (run, read), settings
