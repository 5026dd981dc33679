"""PyTorch on the CPU, channels last: compiled by Inductor with frozen weights, or eager, whichever is faster here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("torch==2.13.0", "onnx==1.23.2", "numpy==2.4.6")

TRIAL_RUNS = 5


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[Callable[[], list[np.ndarray]], dict[str, Any]]:
    import onnx
    import torch
    from onnx_to_torch import OnnxModule

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    module = OnnxModule(onnx.load(model)).eval().to(memory_format=torch.channels_last)
    inputs = [torch.from_numpy(x) for x in feeds.values()]
    inputs = [x.to(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]
    tried: dict[str, Any] = {"eager": module}
    settings: dict[str, Any] = {"version": torch.__version__, "memory format": "channels last", "threads": threads}
    try:
        import torch._inductor.config as inductor

        inductor.freezing = True
        compiled: Any = torch.compile(module, dynamic=False)
        compiled(*inputs)
        tried["compiled by Inductor, weights frozen"] = compiled
    except Exception as error:  # no C++ compiler, or a graph that Inductor refuses
        settings["not compiled"] = str(error).strip().splitlines()[0][:200]
    times = {name: _time(partial(call, *inputs)) for name, call in tried.items()}
    mode = min(times, key=lambda name: times[name])
    best = tried[mode]

    def run() -> list[np.ndarray]:
        return [y.numpy() for y in best(*inputs)]

    return run, {**settings, "mode": mode}


def _time(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(TRIAL_RUNS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)
