"""Run one model over the test samples of a case and keep its outputs; a program of its own, started by table.py.

    python -m benchmarks.accuracy.evaluate TASK.json

The task names the case, the engine, the model, the folder of the material, and the file for the outputs: .npz, arrays
(N, ...) by name. Standard output says how far it is, a JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import edgesmith
from edgesmith.errors import EdgesmithError

from .cases import CASES

REPORTS = 50
"""Lines of progress."""

Run = Callable[[np.ndarray], list[np.ndarray]]


def onnx_runtime(model: Path) -> Run:
    """ONNX Runtime, which computes in floats exactly what QuantizeLinear and DequantizeLinear say.

    With all its optimisations it would choose integer kernels, some of which saturate intermediate sums of 16 bits on
    processors without VNNI: the result would depend on the machine.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    return lambda x: session.run(None, {name: x})


def compiled(model: Path) -> Run:
    """The program that Edgesmith makes of the model for this machine, verified."""
    with tempfile.TemporaryDirectory() as folder:
        program = edgesmith.compile(model, output=Path(folder) / "program")
        program.program  # noqa: B018 - loads the library before its folder goes

    def run(x: np.ndarray) -> list[np.ndarray]:
        found = program(x)
        return list(found.values()) if isinstance(found, dict) else [found]

    return run


ENGINES: dict[str, Callable[[Path], Run]] = {"onnxruntime": onnx_runtime, "edgesmith": compiled}


def outputs(task: dict[str, Any], say: Callable[[int, int], None]) -> dict[str, np.ndarray]:
    """The outputs for all samples, by name in the model's order."""
    case = next(c for c in CASES if c.name == task["case"])
    model = Path(task["model"])
    names = [o.name for o in onnx.load(model, load_external_data=False).graph.output]
    run = ENGINES[task["engine"]](model)
    samples = case.test(Path(task["material"]))
    found: list[list[np.ndarray]] = []
    for x in samples.read():
        found.append([np.array(y[0]) for y in run(x)])
        if len(found) % max(1, samples.count // REPORTS) == 0:
            say(len(found), samples.count)
    return {name: np.stack(column) for name, column in zip(names, zip(*found, strict=True), strict=True)}


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())

    def say(done: int, total: int) -> None:
        print(json.dumps({"done": done, "total": total}), flush=True)

    part = Path(task["outputs"]).with_suffix(".part.npz")
    try:
        found = outputs(task, say)
    except EdgesmithError as error:
        sys.exit(f"{type(error).__name__}: {' '.join(error.why.split())}")
    np.savez(part, **found)
    os.replace(part, task["outputs"])


if __name__ == "__main__":
    main()
