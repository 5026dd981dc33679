"""A compiled model against other runtimes on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx

from edgesmith.bench.environment import environment
from edgesmith.bench.peers import PEERS, Run
from edgesmith.bench.timing import Times, interleaved
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact
from edgesmith.errors import BadInput

__all__ = ["Comparison", "compare", "program_run"]

OURS = "edgesmith"


@dataclass(frozen=True)
class Comparison:
    """Times by runtime, ``edgesmith`` first, and the largest difference of its results from each peer's.

    Args:
        settings: threads, rounds, and what each peer was told.
        environment: machine and versions.
    """

    times: dict[str, Times]
    differences: dict[str, float]
    settings: dict[str, Any]
    environment: dict[str, Any]

    def ratio(self, peer: str) -> float:
        """Time of the peer over ours: above 1 this program is faster."""
        return self.times[peer].median / self.times[OURS].median

    def to_json(self) -> dict[str, Any]:
        return {
            "times": {name: t.to_json() for name, t in self.times.items()},
            "ratios": {name: self.ratio(name) for name in self.differences},
            "max_abs_difference": self.differences,
            "settings": self.settings,
            "environment": self.environment,
        }


def program_run(artifact: Artifact, feeds: Sequence[np.ndarray]) -> Run:
    """One inference of the program on fixed memory."""
    context = artifact.context()
    outputs = [np.empty(t.shape, t.dtype.numpy) for t in artifact.outputs.values()]
    context.bind([np.ascontiguousarray(x) for x in feeds], outputs)
    count = len(artifact.program.steps)

    def run() -> list[np.ndarray]:
        context.run_steps(0, count)
        return outputs

    return run


def compare(
    artifact: Artifact,
    model: onnx.ModelProto | None,
    peers: Sequence[str],
    *,
    rounds: int = 7,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Time an artifact and its peers in interleaved rounds with equal numbers of threads, on the self-test inputs.

    Args:
        model: the normalised model that the artifact was compiled from; needed when there are peers.
        peers: names in ``PEERS``.

    Raises:
        BadInput: an unknown peer, or a model whose inputs or outputs are not the artifact's.
    """
    feeds = selftest_inputs(list(artifact.inputs.values()))
    work: dict[str, Run] = {OURS: program_run(artifact, feeds)}
    for name in peers:
        if name not in PEERS:
            raise BadInput(f"no peer {name!r}", where="--against", hint=f"known: {', '.join(PEERS)}")
        if model is None:
            raise BadInput("a peer needs the ONNX file", where=name, hint="give it with --model")
        _check_signature(artifact, model)
        work[name] = PEERS[name].prepare(model, dict(zip(artifact.inputs, feeds, strict=True)), artifact.threads)
    results = {name: [np.array(y) for y in run()] for name, run in work.items()}
    differences = {name: _difference(results[OURS], results[name]) for name in peers}
    settings: dict[str, Any] = {"threads": artifact.threads, "rounds": rounds, "target": artifact.manifest["target"]}
    settings |= {name: dict(PEERS[name].settings) for name in peers}
    found = environment()
    found["versions"] |= {PEERS[name].package: version(PEERS[name].package) for name in peers}
    return Comparison(interleaved(work, rounds, progress=progress), differences, settings, found)


def _check_signature(artifact: Artifact, model: onnx.ModelProto) -> None:
    constants = {t.name for t in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in constants]
    outputs = [o.name for o in model.graph.output]
    if inputs != list(artifact.inputs) or outputs != list(artifact.outputs):
        raise BadInput(
            f"takes {', '.join(inputs)} and gives {', '.join(outputs)}; "
            f"the artifact takes {', '.join(artifact.inputs)} and gives {', '.join(artifact.outputs)}",
            where="model",
            hint="give the file that the artifact was compiled from",
        )


def _difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    largest = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine.size:
            with np.errstate(invalid="ignore"):
                gap = np.abs(mine.astype(np.float64) - other.astype(np.float64))
            largest = max(largest, float(np.nan_to_num(gap, nan=0.0).max()))
    return largest
