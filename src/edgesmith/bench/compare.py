"""A compiled model against other runtimes on the same inputs, each in a process of its own."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx

from edgesmith.bench.converted import converted
from edgesmith.bench.installed import Installed, Say, reason
from edgesmith.bench.peers import OURS, Peer
from edgesmith.bench.precision import Exact, evaluate, relative_error
from edgesmith.bench.timing import Times, interleaved
from edgesmith.bench.worker import PeerFailed, Worker
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact
from edgesmith.errors import BadInput
from edgesmith.frontend.onnx import read

__all__ = ["Comparison", "Contest", "Measured"]

BUSY_SHARE = 0.02
"""Share of a core that a runtime may use while others are timed before it is said to disturb them."""


@dataclass(frozen=True)
class Measured:
    """One runtime on one model.

    Args:
        error: relative to the outputs in double precision; see ``precision.relative_error``.
        settings: what it was told.
        digest: SHA-256 of its outputs.
        repeats: whether the outputs after the timed runs had the same bits.
        idle_share: share of a core that it used while the others were timed; None where the system does not tell.
    """

    times: Times
    error: float
    settings: Mapping[str, Any]
    digest: str
    repeats: bool
    idle_share: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.times.to_json(),
            "relative_error": self.error,
            "settings": dict(self.settings),
            "digest": self.digest,
            "repeats": self.repeats,
            "idle_share": self.idle_share,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measured:
        figures = (data[key] for key in ("relative_error", "settings", "digest", "repeats", "idle_share"))
        return cls(Times.from_json(data), *figures)


@dataclass(frozen=True)
class Comparison:
    """Runtimes on one model, ``edgesmith`` first.

    Args:
        absent: peers that did not take part, with the reason.
        error_limit: a relative error above it shows reduced precision; see ``Exact.limit``.
        threads: of each runtime.
    """

    measured: Mapping[str, Measured]
    absent: Mapping[str, str]
    error_limit: float
    threads: int

    @property
    def ours(self) -> Measured:
        return self.measured[OURS.name]

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(name for name in self.measured if name != OURS.name)

    def reduced(self, name: str) -> bool:
        """Whether a runtime's results are not those of single precision: it does not count as a peer."""
        return not self.measured[name].error <= self.error_limit

    def ratio(self, peer: str) -> float:
        """Time of the peer over ours, the median over the rounds: above 1 this program is faster."""
        return self.measured[peer].times.over(self.ours.times)

    @property
    def best(self) -> str | None:
        """The fastest peer that computes in single precision."""
        return min((p for p in self.peers if not self.reduced(p)), key=self.ratio, default=None)

    @property
    def disturbing(self) -> tuple[str, ...]:
        """Runtimes that used processor time while others were timed."""
        return tuple(n for n, m in self.measured.items() if m.idle_share is not None and m.idle_share > BUSY_SHARE)

    def to_json(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "error_limit": self.error_limit if math.isfinite(self.error_limit) else None,
            "best_peer": self.best,
            "ratios": {p: self.ratio(p) for p in self.peers},
            "reduced_precision": [n for n in self.measured if self.reduced(n)],
            "runtimes": {n: m.to_json() for n, m in self.measured.items()},
            "absent": dict(self.absent),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        runtimes = {n: Measured.from_json(m) for n, m in data["runtimes"].items()}
        limit = math.inf if data["error_limit"] is None else data["error_limit"]
        return cls(runtimes, data["absent"], limit, data["threads"])


@dataclass
class Contest:
    """One model, ready for all peers: written, converted, its outputs known. A context manager, which removes all that.

    Args:
        model: without dynamic dimensions; None: nothing but our own program runs.
        installed: the peers.
        say: told what begins.
    """

    model: onnx.ModelProto | None
    installed: Installed
    say: Say
    _absent: dict[str, str] = field(init=False)
    _stack: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> Contest:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgesmith-bench-")))
        self._absent = dict(self.installed.absent)
        self._exact: Exact | None = None
        self._ready: list[tuple[Peer, Path]] = []
        if self.model is not None:
            self._file = self._folder / "model.onnx"
            onnx.save(self.model, self._file)
            self._ready = list(self._prepare())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _prepare(self) -> Iterator[tuple[Peer, Path]]:
        """The peers that can take the model, with the folder of what it became for them."""
        for peer in self.installed.peers:
            if not peer.converts:
                yield peer, self._folder
                continue
            self.say(f"model for {peer.name}")
            try:
                yield peer, converted(peer, self.installed, self._file)
            except PeerFailed as error:
                self._absent[peer.name] = f"cannot convert the model: {reason(error)}"

    def compare(
        self, artifact: Artifact, rounds: int = 7, progress: Callable[[int, int], None] | None = None
    ) -> Comparison:
        """Time the artifact and the peers with as many threads in interleaved rounds, on the self-test inputs.

        Raises:
            BadInput: the model's inputs or outputs are not the artifact's.
            PeerFailed: our own program fails.
        """
        feeds = dict(zip(artifact.inputs, selftest_inputs(list(artifact.inputs.values())), strict=True))
        inputs = {name: self._folder / f"input{i}.npy" for i, name in enumerate(feeds)}
        for name, file in inputs.items():
            np.save(file, feeds[name])
        exact = self._reference(artifact, feeds)
        absent = dict(self._absent)
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            settings: dict[str, dict[str, Any]] = {}
            before: dict[str, list[np.ndarray]] = {}
            ours = Installed()
            ours.add(OURS)
            for peer, folder in ((OURS, artifact.path), *self._ready):
                self.say(f"loading {peer.name}")
                try:
                    worker = stack.enter_context((ours if peer is OURS else self.installed).worker(peer))
                    model = self._file if self.model is not None else artifact.path
                    told = worker.load(model, folder, inputs, list(artifact.outputs), artifact.threads)
                    before[peer.name] = self._results(worker, len(artifact.outputs))
                    worker.time(1)
                except PeerFailed as error:
                    if peer is OURS:
                        raise
                    absent[peer.name] = reason(error)
                    continue
                workers[peer.name], settings[peer.name] = worker, told
            times, idle = _timed(workers, rounds, absent, progress)
            after = {n: self._results(workers[n], len(artifact.outputs)) for n in times}
        measured = {
            n: Measured(
                times[n],
                relative_error(before[n], list(exact.outputs.values())) if exact else 0.0,
                settings[n],
                _digest(before[n]),
                _digest(before[n]) == _digest(after[n]),
                idle[n],
            )
            for n in times
        }
        return Comparison(measured, absent, exact.limit if exact else float("inf"), artifact.threads)

    def _results(self, worker: Worker, count: int) -> list[np.ndarray]:
        files = [self._folder / f"output{i}.npy" for i in range(count)]
        worker.results(files)
        return [np.load(f) for f in files]

    def _reference(self, artifact: Artifact, feeds: Mapping[str, np.ndarray]) -> Exact | None:
        if self.model is None or self._exact is not None:
            return self._exact
        _check_signature(artifact, self.model)
        self.say("outputs in double precision")
        self._exact = evaluate(read(self.model), feeds)
        return self._exact


def _digest(arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _timed(
    workers: Mapping[str, Worker], rounds: int, absent: dict[str, str], progress: Callable[[int, int], None] | None
) -> tuple[dict[str, Times], dict[str, float | None]]:
    """Times, and the share of a core that each used outside its own turns; who fails is moved to ``absent``."""
    left = dict(workers)
    while True:
        clock = _IdleClock(left)
        try:
            return interleaved(clock.timers(), rounds, progress=progress), clock.shares()
        except PeerFailed as error:
            name = error.where
            if name == OURS.name or name not in left:
                raise
            absent[name] = reason(error)
            del left[name]


class _IdleClock:
    """Processor time of each worker while the others have their turn."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        self._idle = dict.fromkeys(workers, 0.0)
        self._waited = dict.fromkeys(workers, 0.0)
        self._unknown = any(w.busy_seconds() is None for w in workers.values())

    def timers(self) -> dict[str, Callable[[int], list[float]]]:
        def timer(name: str) -> Callable[[int], list[float]]:
            def run(count: int) -> list[float]:
                others = {n: w.busy_seconds() for n, w in self._workers.items() if n != name}
                taken = self._workers[name].time(count)
                for other, before in others.items():
                    after = self._workers[other].busy_seconds()
                    self._idle[other] += (after or 0.0) - (before or 0.0)
                    self._waited[other] += sum(taken) / 1e9
                return taken

            return run

        return {name: timer(name) for name in self._workers}

    def shares(self) -> dict[str, float | None]:
        return {n: None if self._unknown or not w else self._idle[n] / w for n, w in self._waited.items()}


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
