"""MNN in int8: its own quantiser makes the model from floats, all else is as in ``edgesmith.bench.peers.mnn``."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

FLOAT = Path(__file__).parents[2] / "src/edgesmith/bench/peers/mnn.py"
SAMPLES = 4


def _float() -> Any:
    spec = importlib.util.spec_from_file_location("mnn_float", FLOAT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert(model: Path, folder: Path) -> None:
    _float().convert(model, folder)
    import _tools
    import MNN

    net = MNN.Interpreter(str(folder / "model.mnn"))
    inputs = {n: t.getShape() for n, t in net.getSessionInputAll(net.createSession()).items()}
    samples = folder / "samples"
    rng = np.random.default_rng(0)
    for number in range(SAMPLES):
        (samples / str(number)).mkdir(parents=True)
        for name, shape in inputs.items():
            values = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
            (samples / str(number) / f"{name}.txt").write_text("\n".join(map(str, values.ravel())))
        told = {"inputs": [{"name": n, "shape": list(s)} for n, s in inputs.items()], "outputs": []}
        (samples / str(number) / "input.json").write_text(json.dumps(told))
    settings = {
        "path": f"{samples}/",
        "input_type": "sequence",
        "used_sample_num": SAMPLES,
        "batch_size": 1,
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    quantised = folder / "quantised.mnn"
    _tools.mnnquant(["mnnquant", str(folder / "model.mnn"), str(quantised), str(folder / "settings.json")])
    if not quantised.is_file():
        raise RuntimeError("MNN cannot quantise the model")
    quantised.rename(folder / "model.mnn")
    shutil.rmtree(samples)


def load(*arguments: Any) -> Any:
    return _float().load(*arguments)
