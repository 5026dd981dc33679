"""ExecuTorch with XNNPACK: the model is exported from PyTorch and lowered ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# What its other dependencies are for (tokenizers, Core ML, configuration) plays no part here, and some have no wheel.
PACKAGES = (
    *("torch==2.13.0", "onnx==1.23.2", "numpy==2.4.6"),
    *("flatbuffers==25.12.19", "packaging==26.3", "pyyaml==6.0.3", "ruamel.yaml==0.19.1", "tabulate==0.10.0"),
    *("--no-deps", "executorch==1.5.1", "torchao==0.18.0"),
)


def convert(model: Path, folder: Path) -> None:
    import onnx
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from onnx_to_torch import OnnxModule

    found = onnx.load(model)
    module = OnnxModule(found).eval()
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in found.graph.input}
    example = tuple(torch.zeros(shapes[name]) for name in module.inputs)
    exported = torch.export.export(module, example)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / "model.pte").write_bytes(program.buffer)


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[Callable[[], list[np.ndarray]], dict[str, Any]]:
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(folder / "model.pte").load_method("forward")
    inputs = [torch.from_numpy(x) for x in feeds.values()]

    def run() -> list[np.ndarray]:
        return [y.numpy() for y in method.execute(inputs)]

    return run, {"version": metadata.version("executorch"), "backend": "XNNPACK", "threads": threads}
