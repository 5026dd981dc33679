"""ONNX Runtime on the CPU, as a user runs it: all graph optimisations, default arena."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from edgesmith.bench.peers import PEERS, Peer, Run
from edgesmith.oracle import session


def prepare(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int) -> Run:
    """A session with the inputs bound; the call returns the outputs."""
    loaded = session(model, threads)
    names = [o.name for o in loaded.get_outputs()]
    inputs = dict(feeds)

    def run() -> list[np.ndarray]:
        return list(loaded.run(names, inputs))

    return run


PEERS.register("onnxruntime")(
    Peer(
        "onnxruntime",
        "onnxruntime",
        prepare,
        {"provider": "CPUExecutionProvider", "graph optimisations": "all", "inter_op_threads": 1},
    )
)
