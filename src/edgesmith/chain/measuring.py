"""Programs of stages: compiled, timed in turns, weighed, and tried on the test pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgesmith import api
from edgesmith.atomic import write_file
from edgesmith.bench.other_work import OtherWork
from edgesmith.bench.timing import Times
from edgesmith.chain.accuracy import top1
from edgesmith.chain.data import Data
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.recipe import TargetSpec
from edgesmith.device import Artifact
from edgesmith.pipeline.latency import Latency, size_of
from edgesmith.pipeline.run_times import on_device, on_this_machine
from edgesmith.pipeline.source import read
from edgesmith.pipeline.stand_in import stand_in
from edgesmith.target import parse

__all__ = ["Bench", "Figures", "Taken", "quantised_stand_in"]

Progress = Callable[[str, int, int], None]
ROUNDS, SECONDS = 7, 1.5
"""Programs take turns so often and so long, at least."""
CALM, ATTEMPTS = 0.05, 5
"""Times that spread wider (see ``Times.spread``) are of a slow spell, which meets small programs more than large ones:
they are taken again, so often at most, and the calmest count."""


def quantised_stand_in(model: Path, precision: str) -> Path:
    """A model of other precision beside one in floats, as fast as a calibrated one; see ``pipeline.stand_in``."""
    path = model.with_name(f"{model.stem}-{precision}.onnx")
    write_file(path, stand_in(read(model, None, {})[0], precision).model.SerializeToString(deterministic=True))
    return path


@dataclass(frozen=True)
class Figures:
    """Of a program, all but its time.

    Args:
        accuracy: percent, on the test pictures.
    """

    accuracy: float
    size_kb: float
    macs: int


@dataclass(frozen=True)
class Taken:
    """Times of programs.

    Args:
        milliseconds: of each.
        other_work: share of this machine's processors that other programs took meanwhile, from 0 to 1; None: not known,
            or of no matter.
    """

    milliseconds: Mapping[str, float]
    other_work: float | None


class Bench:
    """Compiles models for the recipe's target, and measures them.

    Args:
        progress: told about stages of compilation and measuring.
    """

    def __init__(self, target: TargetSpec, progress: Progress) -> None:
        self._spec, self._progress = target, progress
        self.timing: Latency = api.latency(target.name, mode="measured", threads=target.threads, on=target.on)

    @property
    def target(self) -> TargetSpec:
        return self._spec

    def compiled(self, model: Path, output: Path, *, verify: bool = False) -> Artifact:
        """The program of a model in a folder, anew where the folder's is of another model or recipe."""
        spec = self._spec
        return api.compile(
            model,
            target=spec.name,
            output=output,
            threads=spec.threads,
            tune=spec.tune,
            budget_seconds=spec.tune_seconds,
            verify=verify,
            name="model",
            progress=self._progress,
        )

    def figures(self, artifact: Artifact, model: Path, data: Data) -> Figures:
        """What needs no clock."""
        accuracy = top1(artifact, model, data.test_inputs, data.test_labels, self._progress)
        macs = sum(int(step["macs"]) for step in artifact.manifest["steps"])
        return Figures(accuracy, size_of(artifact).nbytes / 1000, macs)

    def milliseconds(self, programs: Mapping[str, tuple[Artifact, Path]]) -> dict[str, float]:
        """Times of programs that take turns, so that their ratios are those of the programs.

        The first one's is its median; the others' are it times the median of the rounds' ratios.

        Args:
            programs: artifacts with the models that they were compiled from.
        """
        if not programs:
            return {}
        if not self.timing.is_measured:
            return {name: self.timing(model) for name, (_, model) in programs.items()}
        artifacts = {name: artifact for name, (artifact, _) in programs.items()}
        found = self._times(artifacts)
        first, *_ = found.values()
        return {
            name: first.median / 1e6 * (times.over(first) if times is not first else 1.0)
            for name, times in found.items()
        }

    def _times(self, artifacts: Mapping[str, Artifact]) -> dict[str, Times]:
        taken: list[tuple[float, dict[str, Times]]] = []
        for i in range(ATTEMPTS):
            self._progress("times", i, ATTEMPTS)
            found = self._times_now(artifacts)
            taken.append((max(t.spread for t in found.values()), found))
            if taken[-1][0] <= CALM:
                break
        self._progress("times", ATTEMPTS, ATTEMPTS)
        return min(taken, key=lambda t: t[0])[1]

    def _times_now(self, artifacts: Mapping[str, Artifact]) -> dict[str, Times]:
        if self._spec.on:
            return on_device(self._spec.on, parse(self._spec.name), artifacts, ROUNDS, SECONDS)
        return on_this_machine(artifacts, ROUNDS, SECONDS)

    def metrics(self, figures: Figures, milliseconds: float, parameters: int) -> Metrics:
        source = self.timing.source
        return Metrics(figures.accuracy, milliseconds, source, figures.size_kb, figures.macs, parameters)

    def kept_times(self, file: Path, programs: Mapping[str, tuple[Artifact, Path]]) -> Taken:
        """Of ``milliseconds``, or what a file says of the same programs for the same target."""
        key = [vars(self._spec), [(name, a.manifest["build"], a.manifest["lock"]) for name, (a, _) in programs.items()]]
        try:
            known = json.loads(file.read_text())
            if known["key"] == json.loads(json.dumps(key)):
                milliseconds = {name: float(ms) for name, ms in known["milliseconds"].items()}
                return Taken(milliseconds, None if known["other_work"] is None else float(known["other_work"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        with OtherWork() as others:
            found = self.milliseconds(programs)
        here = self.timing.is_measured and not self._spec.on
        taken = Taken(found, others.share if here else None)
        write_file(file, json.dumps({"key": key, **asdict(taken)}, indent=1).encode())
        return taken
