"""Quantisation after training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgesmith import api
from edgesmith.chain.schema import unknown
from edgesmith.chain.stage import Outcome, Stage, stage
from edgesmith.chain.work import Work
from edgesmith.errors import BadInput
from edgesmith.quantize import Quantized, Settings
from edgesmith.quantize.observers import OBSERVERS
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.quantize.recovery import RECOVERIES

__all__ = ["Quantise"]


@stage("quantise")
@dataclass(frozen=True, kw_only=True)
class Quantise(Stage):
    """Weights and activations of the exported model in fewer bits; scales from training pictures.

    Args:
        to: name of a precision.
        observer: how ranges are chosen (default: that of ``edgesmith.quantize.Settings``).
        recovery: methods that regain accuracy (default: likewise).
        max_accuracy_drop: layers stay in floats until no more points are lost on the calibration pictures.
    """

    gives_onnx: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    to: str = "int8"
    observer: str = ""
    recovery: tuple[str, ...] | None = None
    max_accuracy_drop: float | None = None

    def __post_init__(self) -> None:
        if self.to not in PRECISIONS:
            raise BadInput(f"{self.to!r} is not one of {', '.join(PRECISIONS)}", where="to")
        settings = self._settings()
        if settings.observer not in OBSERVERS:
            raise unknown(settings.observer, OBSERVERS, "observer", "observer")
        for name in settings.recovery:
            if name not in RECOVERIES:
                raise unknown(name, RECOVERIES, "recovery", "recovery method")

    @property
    def precision(self) -> str:
        return self.to

    @property
    def of_preview(self) -> dict[str, Any]:
        return self.parameters

    def planned(self, budget: str) -> str:
        return self.to

    def preview(self, model: Path, work: Work) -> Path:
        """As it will be: methods that keep values in floats for accuracy's sake cost time."""
        path = model.with_name("preview.onnx")
        self._quantised(model, path, work)
        return path

    def run(self, work: Work) -> Outcome:
        path = work.folder / "quantised.onnx"
        found = self._quantised(work.before[-1].onnx, path, work)
        return Outcome(onnx=path, notes=tuple(str(n) for n in found.notices[:3]))

    def _quantised(self, model: Path, path: Path, work: Work) -> Quantized:
        data, settings = work.data.calibration, self._settings()
        progress = work.progress
        return api.quantize(model, data, precision=self.to, settings=settings, output=path, progress=progress)

    def _settings(self) -> Settings:
        own: dict[str, Any] = {"precision": self.to, "max_accuracy_drop": self.max_accuracy_drop}
        own |= {"observer": self.observer} if self.observer else {}
        own |= {} if self.recovery is None else {"recovery": self.recovery}
        return Settings(**own)
