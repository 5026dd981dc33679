"""A compiled program, run by the worker like any other runtime; the one file here that imports Edgesmith."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.device import load as artifact


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[Callable[[], list[np.ndarray]], dict[str, Any]]:
    """The artifact in ``folder`` on fixed memory."""
    program = artifact(folder, threads)
    context = program.context()
    results = [np.empty(t.shape, t.dtype.numpy) for t in program.outputs.values()]
    context.bind([feeds[name] for name in program.inputs], results)
    count = len(program.program.steps)

    def run() -> list[np.ndarray]:
        context.run_steps(0, count)
        return results

    return run, {"target": program.manifest["target"], "threads": threads, "inputs and outputs": "bound"}
