"""OpenVINO on the CPU: latency hint, one stream, fp32 kept (on machines with AMX it takes bf16 by itself)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("openvino==2026.4.1", "numpy==2.4.6")


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[tuple[Callable[[], object], Callable[[], list[np.ndarray]]], dict[str, Any]]:
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    request = ov.Core().compile_model(str(model), "CPU", settings).create_infer_request()
    for name, x in feeds.items():
        request.set_tensor(name, ov.Tensor(x, shared_memory=True))

    def read() -> list[np.ndarray]:
        return [request.get_tensor(name).data for name in outputs]

    return (lambda: request.infer(share_outputs=True), read), {"version": ov.__version__, **settings}
