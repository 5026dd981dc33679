"""ONNX Runtime on the CPU with all graph optimisations, inputs and outputs bound to memory as ours are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ()
"""Edgesmith itself depends on ONNX Runtime, as its reference: the same one is timed."""


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[Callable[[], list[np.ndarray]], dict[str, Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    results = [np.empty_like(y) for y in session.run(list(outputs), dict(feeds))]
    binding = session.io_binding()
    for name, x in feeds.items():
        binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for name, y in zip(outputs, results, strict=True):
        binding.bind_output(name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)

    def run() -> list[np.ndarray]:
        session.run_with_iobinding(binding)
        assert feeds  # the binding holds addresses only
        return results

    return run, {
        "version": ort.__version__,
        "provider": "CPUExecutionProvider",
        "graph optimisations": "all",
        "intra-op threads": threads,
        "inter-op threads": 1,
        "spinning": "allowed",
        "inputs and outputs": "bound",
    }
