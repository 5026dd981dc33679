"""ONNX Runtime on the CPU with all graph optimisations, inputs and outputs bound to memory as ours are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from edgesmith.bench.peers import PEERS, Peer, Run
from edgesmith.oracle import session


def prepare(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int) -> Run:
    """A session whose inputs and outputs lie in fixed memory."""
    loaded = session(model, threads)
    first = loaded.run(None, dict(feeds))
    outputs = [np.empty_like(array) for array in first]
    binding = loaded.io_binding()
    inputs = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    for info, array in zip(loaded.get_outputs(), outputs, strict=True):
        binding.bind_output(info.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run() -> list[np.ndarray]:
        loaded.run_with_iobinding(binding)
        assert inputs  # the binding holds addresses only
        return outputs

    return run


PEERS.register("onnxruntime")(
    Peer(
        "onnxruntime",
        "onnxruntime",
        prepare,
        {"provider": "CPUExecutionProvider", "graph optimisations": "all", "inter_op_threads": 1, "memory": "bound"},
    )
)
