"""Peers for tests: programs that compute a small model in one way or another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith.bench.installed import Installed
from edgesmith.bench.peers import Peer

DEPTH, OUTPUTS = 64, 32

HEADER = """
import os
import time
import numpy as np
import onnx
from onnx import numpy_helper

PACKAGES = ()

def weights(model):
    return numpy_helper.to_array(onnx.load(model).graph.initializer[0])
"""

EXACT = """
def load(model, folder, feeds, outputs, threads):
    w = weights(model)
    x = feeds["x"]
    return (lambda: [np.maximum(x @ w, 0)]), {"threads": threads}
"""
HALF = """
def load(model, folder, feeds, outputs, threads):
    w = weights(model).astype(np.float16)
    x = feeds["x"].astype(np.float16)
    return (lambda: [np.maximum(x @ w, 0).astype(np.float32)]), {}
"""
SLOW = """
def load(model, folder, feeds, outputs, threads):
    w, x = weights(model), feeds["x"]
    kept = []
    def run():
        time.sleep(0.002)
        kept[:] = [np.maximum(x @ w, 0)]
    return (run, lambda: kept), {"sleeps": "2 ms"}
"""
REFUSES = """
def load(model, folder, feeds, outputs, threads):
    raise NotImplementedError("no MatMul here")
"""
DIES = """
def load(model, folder, feeds, outputs, threads):
    print("out of luck", flush=True)
    os._exit(3)
"""
DIES_LATER = """
def load(model, folder, feeds, outputs, threads):
    w, x, runs = weights(model), feeds["x"], []
    def run():
        runs.append(1)
        if len(runs) > 4:
            os._exit(4)
        return [np.maximum(x @ w, 0)]
    return run, {}
"""
CONVERTS = """
def convert(model, folder):
    print("this goes nowhere")
    np.save(folder / "w.npy", weights(model))

def load(model, folder, feeds, outputs, threads):
    w, x = np.load(folder / "w.npy"), feeds["x"]
    return (lambda: [np.maximum(x @ w, 0)]), {}
"""
CANNOT_CONVERT = (
    """
def convert(model, folder):
    raise ValueError("too new a model")
"""
    + EXACT
)


def model() -> onnx.ModelProto:
    """Relu(x @ w)."""
    w = np.random.default_rng(5).standard_normal((DEPTH, OUTPUTS)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, OUTPUTS])],
        [numpy_helper.from_array(w, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def installed(folder: Path, **sources: str) -> Installed:
    """Peers by name, each a program of its own."""
    found = Installed()
    for name, source in sources.items():
        file = folder / f"{name}.py"
        file.write_text(HEADER + source)
        found.add(Peer(name, file, converts="def convert" in source))
    return found
