"""Milliseconds of one inference as a function of a module, for searches that compress against time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgesmith import tune as tuning
from edgesmith.bench.timing import Times
from edgesmith.cache import source_digest
from edgesmith.codegen import generate
from edgesmith.device import Artifact
from edgesmith.errors import BadInput
from edgesmith.frontend.torch import export
from edgesmith.ir import Graph
from edgesmith.kernels import Problem
from edgesmith.passes import optimize
from edgesmith.pipeline.run_times import can_be_modelled, modelled_ns, on_device, on_this_machine
from edgesmith.pipeline.source import read
from edgesmith.pipeline.stand_in import stand_in
from edgesmith.pipeline.structure import structure_digest
from edgesmith.plan import Plan, make_plan
from edgesmith.plan.select import Candidate, Choice, Selector
from edgesmith.target import Target, parse, runs_here, this_processor
from edgesmith.toolchain import zig
from edgesmith.version import __version__

__all__ = ["MEASURED", "MODES", "PREDICTED", "TUNED", "Latency", "Size", "size_of"]

PREDICTED, MEASURED, TUNED = MODES = ("predicted", "measured", "tuned")
FLOAT = "f32"
ROUNDS = 5


@dataclass(frozen=True)
class Size:
    """Bytes of a program.

    Args:
        weights: constants, as they are stored.
        code: everything else of the library, or what a microcontroller's flash holds beside the weights; None: not
            known without compiling.
    """

    weights: int
    code: int | None

    @property
    def nbytes(self) -> int:
        """Both, as far as they are known."""
        return self.weights + (self.code or 0)


class Latency:
    """Milliseconds of one inference on a target: call it with a module or an ONNX model.

    Results are kept by what decides them: the model's structure (``structure_digest``), so that a module costs nothing
    the second time, also after it was trained.

    Args:
        target: as ``compile`` takes it.
        mode: ``predicted``: planned with the times of kernels that the tuning database or their own models give,
            without a compiler; ``measured``: compiled and timed; ``tuned``: its kernels are measured first.
        threads: threads that share a run. Predictions divide each step by the threads that share it.
        precision: what the model is quantised to first, with scales that mean nothing and decide no time.
        example: an input of the modules, a tuple of inputs, or a dict of them by argument name.
        shapes: of ONNX models with dynamic dimensions.
        on: address of the device where programs are timed, such as ``ssh://pi@host`` (default: this machine). Where a
            target neither runs here nor on a device, times are those of a model of its core (QEMU and ``llvm-mca``), or
            predicted where there is none: ``source`` says which.
        kept: a file (JSON lines) that keeps results from process to process.
        compile: makes an artifact of an ONNX file; ``compile(path, output=..., tune=...)``.

    Raises:
        BadInput: no such mode; no thread; an address and a mode that does not use it.
        TargetError: no such target.
    """

    def __init__(
        self,
        target: str = "native",
        *,
        mode: str = PREDICTED,
        threads: int = 1,
        precision: str = FLOAT,
        example: Any = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        on: str = "",
        kept: str | Path | None = None,
        compile: Callable[..., Artifact],
    ) -> None:
        if mode not in MODES:
            raise BadInput(f"{mode!r} is not one of {', '.join(MODES)}", where="mode")
        if threads < 1:
            raise BadInput(f"{threads} must be 1 or more", where="threads")
        if on and mode == PREDICTED:
            raise BadInput("predictions need no device", where="on", hint=f"mode={MEASURED!r}")
        self.target: Target = parse(target)
        self.mode, self.threads, self.precision = mode, threads, precision
        self._name, self._example, self._shapes, self._on = target, example, shapes, on
        self._compile = compile
        self._compiler = zig()
        cost = tuning.MeasuredCost(tuning.recorded(self.target, self._compiler), only=None)
        self._selector = _CheapSelector(self.target, cost)
        self._kept = Path(kept) if kept else None
        self._known: dict[str, float] = _read(self._kept)

    @property
    def source(self) -> str:
        """Where the milliseconds come from, for reports."""
        if self.mode == PREDICTED:
            return f"predicted for {self._name}"
        if self._on:
            return f"measured on {self._on}"
        if runs_here(self.target):
            return "measured on this machine"
        if can_be_modelled(self.target):
            return f"of a model of {self.target.core.title} (QEMU, llvm-mca)"
        return f"predicted for {self._name}, which is not here"

    @property
    def is_measured(self) -> bool:
        """Whether times are those of programs that ran on the target."""
        return self.mode != PREDICTED and bool(self._on or runs_here(self.target))

    def __call__(self, model: Any) -> float:
        """Milliseconds of one inference.

        Args:
            model: a ``torch.nn.Module``, the path of an ONNX file, or a loaded one.

        Raises: what ``compile`` raises.
        """
        with tempfile.TemporaryDirectory(prefix="edgesmith-latency-") as name:
            path = self._written(model, Path(name))
            key = self._key(path)
            if key not in self._known:
                self._keep(key, self._taken(path, Path(name)))
            return self._known[key]

    def times(self, models: Mapping[str, Any], rounds: int = ROUNDS) -> dict[str, Times]:
        """Times (nanoseconds) of several models in interleaved rounds, so that their ratios (``Times.over``) are not
        those of the machine's slow spells. Not kept.

        Raises:
            BadInput: they cannot be measured (``is_measured``); and what ``compile`` raises.
        """
        if not self.is_measured:
            raise BadInput(
                f"times are {self.source}", where="latency", hint=f"mode={MEASURED!r} and a target that runs"
            )
        with tempfile.TemporaryDirectory(prefix="edgesmith-latency-") as name:
            made = {}
            for i, (title, model) in enumerate(models.items()):
                folder = Path(name) / str(i)
                folder.mkdir()
                made[title] = self._artifact(self._written(model, folder), folder / "artifact")
            return self._timed(made, rounds)

    def size(self, model: Any) -> Size:
        """Bytes of the program; predicted ones are those of its weights."""
        with tempfile.TemporaryDirectory(prefix="edgesmith-latency-") as name:
            path = self._written(model, Path(name))
            if self.mode == PREDICTED:
                return Size(generate(self._plan(path), "model", __version__, {}).weights.nbytes, None)
            return size_of(self._artifact(path, Path(name) / "artifact"))

    def _written(self, model: Any, folder: Path) -> Path:
        """The model as an ONNX file."""
        if isinstance(model, str | Path):
            return Path(model)
        path = folder / "model.onnx"
        if isinstance(model, onnx.ModelProto):
            onnx.save(model, path)
            return path
        if self._example is None:
            raise BadInput("needs an example input for modules", where="latency", hint="latency(..., example=x)")
        export(model, self._example, path, traced=True)
        return path

    def _taken(self, path: Path, folder: Path) -> float:
        if self.is_measured:
            times = self._timed({"": self._artifact(path, folder / "artifact")}, ROUNDS)
            return times[""].median / 1e6
        if self.mode != PREDICTED and can_be_modelled(self.target):
            return modelled_ns(self._artifact(path, folder / "artifact")) / 1e6
        return _predicted_ns(self._plan(path), self.threads) / 1e6

    def _timed(self, artifacts: Mapping[str, Artifact], rounds: int) -> dict[str, Times]:
        if self._on:
            return on_device(self._on, self.target, artifacts, rounds)
        return on_this_machine(artifacts, rounds)

    def _artifact(self, path: Path, output: Path) -> Artifact:
        model: Any = path
        if self.precision != FLOAT:
            model = stand_in(read(path, self._shapes, {})[0], self.precision).model
        return self._compile(
            model,
            target=self._name,
            output=output,
            shapes=self._shapes if model is path else None,
            threads=self.threads,
            tune="full" if self.mode == TUNED else "cached",
            verify=False,
        )

    def _plan(self, path: Path) -> Plan:
        return make_plan(self._graph(path), self.target, selector=self._selector)

    def _graph(self, path: Path) -> Graph:
        graph = read(path, self._shapes, {})[0]
        if self.precision != FLOAT:
            graph = stand_in(graph, self.precision).graph
        return optimize(graph)[0]

    def _key(self, path: Path) -> str:
        shapes = sorted((name, list(shape)) for name, shape in (self._shapes or {}).items())
        processor = str(this_processor()) if runs_here(self.target) and not self._on else ""
        what = [self._name, str(self.target), processor, self.mode, self.threads, self.precision, self._on, shapes]
        return json.dumps([structure_digest(onnx.load(path)), source_digest(), *what])

    def _keep(self, key: str, milliseconds: float) -> None:
        self._known[key] = milliseconds
        if self._kept:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            with self._kept.open("a") as file:
                file.write("\n" + json.dumps({"key": key, "ms": milliseconds}))  # also after a line that was cut off


def size_of(artifact: Artifact) -> Size:
    """Bytes of weights and code of a compiled program: of its library, or on microcontrollers of its flash."""
    memory = artifact.manifest["memory"]
    weights = int(artifact.manifest.get("weights_bytes", memory["weights_bytes"]))
    if artifact.target.is_bare:
        return Size(weights, max(int(memory["flash_bytes"]) - weights, 0))
    return (
        Size(weights, max(artifact.library.stat().st_size - weights, 0))
        if artifact.library.is_file()
        else Size(weights, None)
    )


class _CheapSelector(Selector):
    """Remembers decisions from model to model; keeps neither reasons nor the models' constants."""

    def considered(self, problem: Problem, choice: Choice) -> tuple[Candidate, ...]:
        return (Candidate(choice.kernel.name, choice.cost_ns, choice.schedule),)


def _predicted_ns(plan: Plan, threads: int) -> float:
    return sum(step.choice.cost_ns / min(step.workers, threads) for step in plan.steps)


def _read(file: Path | None) -> dict[str, float]:
    """What a file kept; a last line that was cut off does not count."""
    found: dict[str, float] = {}
    if file is None or not file.is_file():
        return found
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
            found[row["key"]] = float(row["ms"])
        except (ValueError, KeyError, TypeError):
            continue
    return found
