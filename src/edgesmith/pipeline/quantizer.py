"""Quantisation on the way from a model to a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.passes import optimize
from edgesmith.pipeline.progress import Progress
from edgesmith.preprocess import Preprocess
from edgesmith.quantize import NO_DATA, Quantized, Samples, Settings, Source, open_samples
from edgesmith.quantize import quantize as post_training

__all__ = ["Quantizer", "settings_for"]

CALIBRATION = ".calibration"
"""End of the name of the file that keeps an interrupted calibration."""


@dataclass(frozen=True)
class Quantizer:
    """A float graph, the data to calibrate it with, and how."""

    graph: Graph
    samples: Samples | None
    settings: Settings

    @classmethod
    def of(
        cls,
        graph: Graph,
        calibration: Source | None,
        settings: Settings,
        preprocess: Preprocess | None,
        limit: int | None = None,
    ) -> Quantizer:
        if calibration is None and not settings.kind.is_integer:
            return cls(graph, None, settings)
        if calibration is None:
            hint = f'typical inputs: calibration="folder", "file.npz" or "module:function"; or {NO_DATA!r}'
            raise BadInput(f"{settings.precision} needs calibration data", where="calibration", hint=hint)
        inputs = {v: graph.type(v) for v in graph.inputs}
        return cls(graph, open_samples(calibration, inputs, preprocess, limit=limit), settings)

    @property
    def digest(self) -> str:
        return self.settings.digest(self.samples.digest) if self.samples else self.settings.digest()

    def run(self, output: Path | None, report: Progress) -> Quantized:
        """Quantise; the state of an interrupted calibration is kept beside ``output``."""
        state = output and output.with_name(f"{output.name}{CALIBRATION}")
        return post_training(optimize(self.graph)[0], self.samples, self.settings, state=state, progress=report)


def settings_for(precision: str, settings: Settings | None) -> Settings:
    """The settings, or the default ones, for a precision."""
    return replace(settings or Settings(), precision=precision)
