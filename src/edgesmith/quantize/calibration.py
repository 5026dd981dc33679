"""What the values of a network are on calibration data."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesmith.atomic import replacing_file
from edgesmith.ir import Graph
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.observers import OBSERVERS, Observer
from edgesmith.quantize.parameters import Range
from edgesmith.quantize.run import BUDGET_BYTES, Runner
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.settings import Settings, unknown

__all__ = ["Calibration", "calibrate"]

FEW = 8
FAINT = 1e-15
"""Values that never exceed this cannot be told from 0 by the arithmetic that follows."""


@dataclass(frozen=True)
class Calibration:
    """Ranges of values, and what was doubtful about them.

    Args:
        ranges: of the values that can be quantised.
        runs: how often the network ran.
    """

    ranges: Mapping[str, Range]
    notices: tuple[Notice, ...]
    runs: int


def calibrate(
    graph: Graph,
    values: Sequence[str],
    samples: Samples,
    settings: Settings,
    *,
    state: Path | None = None,
    every: int = 16,
    progress: Callable[[int, int], None] | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> Calibration:
    """Run a float graph over all samples and choose the ranges of its values.

    Args:
        state: a file that keeps the summaries of the values after each ``every`` runs. When it is there and belongs to
            the same graph, settings and data, calibration goes on from it; it is removed at the end.
        progress: told (runs done, runs in all), the latter 0 where it is not known.
        budget_bytes: most memory for values of one run.

    Raises:
        BadInput: the settings name no observer, or the samples are wrong.
    """
    if settings.observer not in OBSERVERS:
        raise unknown("observer", settings.observer, OBSERVERS, "quantisation: observer")
    watch = _Watch(graph, values, samples, settings)
    done = watch.load(state) if state else 0
    runner = Runner(graph, values, budget_bytes=budget_bytes)
    total = samples.count or 0
    runs = 0
    for feeds in samples:
        runs += 1
        if runs <= done:
            continue
        for piece in runner(feeds):
            watch.observe(piece)
        if state and runs % every == 0:
            watch.save(state, runs)
        if progress:
            progress(runs, total)
    if state:
        state.unlink(missing_ok=True)
    ranges, notices = watch.ranges()
    return Calibration(ranges, (*_about_data(samples, runs), *notices), runs)


class _Watch:
    """The observers of all values."""

    def __init__(self, graph: Graph, values: Sequence[str], samples: Samples, settings: Settings) -> None:
        self._observers: dict[str, Observer] = {v: OBSERVERS[settings.observer](settings) for v in values}
        self._broken: set[str] = set()
        key = f"{graph.digest} {settings.digest()} {samples.digest} {' '.join(values)}"
        self._key = hashlib.sha256(key.encode()).hexdigest()

    def observe(self, values: Mapping[str, np.ndarray]) -> None:
        for value, array in values.items():
            if value in self._broken:
                continue
            if np.isfinite(array).all():
                self._observers[value].observe(array)
            else:
                self._broken.add(value)

    def ranges(self) -> tuple[dict[str, Range], list[Notice]]:
        """The ranges of values that vary, and why others have none."""
        found: dict[str, Range] = {}
        notices = []
        for value, watched in self._observers.items():
            notice = self._unfit(value, watched)
            if notice is None:
                found[value] = watched.range()
            else:
                notices.append(notice)
        return found, notices

    def _unfit(self, value: str, watched: Observer) -> Notice | None:
        floats = "it stays in floats"
        if value in self._broken:
            return Notice("not-finite", value, f"an element is NaN or infinite on calibration data; {floats}")
        low, high = watched.low, watched.high
        if low == high:
            what = "0" if low == 0 else f"the constant {low:g}"
            hint = "more varied calibration data would give it a scale"
            return Notice("constant-value", value, f"it is {what} on all calibration data; {floats}", hint)
        if max(-low, high) < FAINT:
            return Notice("faint-value", value, f"no element exceeds {max(-low, high):.2g}; {floats}")
        return None

    def save(self, path: Path, runs: int) -> None:
        arrays = {"key": np.array(self._key), "runs": np.array(runs)}
        for i, (value, watched) in enumerate(self._observers.items()):
            arrays[f"{i}/broken"] = np.array(value in self._broken)
            arrays |= {f"{i}/{name}": array for name, array in watched.state().items()}
        with replacing_file(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def load(self, path: Path) -> int:
        """Take up what ``save`` left, and return the runs that it counts; 0 where it is something else."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["key"]) != self._key:
                    return 0
                for i, (value, watched) in enumerate(self._observers.items()):
                    mine = f"{i}/"
                    state = {name.removeprefix(mine): kept[name] for name in kept.files if name.startswith(mine)}
                    watched.restore(state)
                    if state["broken"]:
                        self._broken.add(value)
                return int(kept["runs"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0


def _about_data(samples: Samples, runs: int) -> list[Notice]:
    if not samples.real:
        return [
            Notice(
                "data-free",
                "",
                "ranges and errors are those of synthetic inputs; on real ones the error may be far larger",
                "give typical inputs with --calibration, or at least the preparation of pictures (--mean, --std)",
            )
        ]
    if runs * samples.batch < FEW:
        why = f"calibrated on {runs * samples.batch} sample{'s' * (runs * samples.batch > 1)}"
        return [Notice("few-samples", "", why, "a hundred or more typical inputs give reliable ranges")]
    return []
