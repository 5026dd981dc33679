"""Top-1 accuracy of what ships: the compiled program where it runs, the ONNX model in ONNX Runtime elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgesmith.device import Artifact
from edgesmith.errors import BadInput
from edgesmith.oracle import Oracle
from edgesmith.target import runs_here

__all__ = ["top1"]

Progress = Callable[[str, int, int], None]
REPORTED = 100


def top1(artifact: Artifact, model: Path, inputs: np.ndarray, labels: np.ndarray, progress: Progress) -> float:
    """Percent of inputs (N, ...) whose greatest output is that of their class.

    Args:
        model: that the artifact was compiled from.

    Raises:
        BadInput: the model takes no single input of such a shape.
    """
    ((name, kind),) = artifact.inputs.items() if len(artifact.inputs) == 1 else ((None, None),)
    if name is None or kind is None or kind.shape[1:] != inputs.shape[1:]:
        raise BadInput("takes no pictures as the data has", where=str(model), hint="one input (N, C, H, W)")
    batch = kind.shape[0]
    output = next(iter(artifact.outputs))
    if runs_here(artifact.target):

        def run(x: np.ndarray) -> np.ndarray:
            found = artifact(x)
            return found[output] if isinstance(found, dict) else found
    else:
        oracle = Oracle(str(model))

        def run(x: np.ndarray) -> np.ndarray:
            return oracle.run({name: x}, [output])[output]

    right, every = 0, max(len(inputs) // REPORTED, 1)
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)]) if len(part) < batch else part
        scores = run(np.ascontiguousarray(filled)).reshape(batch, -1)[: len(part)]
        right += int((scores.argmax(1) == labels[start : start + batch]).sum())
        if start // batch % every == 0 or start + batch >= len(inputs):
            progress("accuracy", min(start + batch, len(inputs)), len(inputs))
    return 100.0 * right / len(inputs)
