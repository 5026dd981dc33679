"""Quantisation after training."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from edgesmith import api
from edgesmith.chain.costs import program_figures
from edgesmith.chain.schema import unknown
from edgesmith.chain.stage import Outcome, Stage, in_floats, stage
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

    What stays in floats for accuracy's sake (recovery ``wide-values``) takes time and bytes. Where the program is not
    within the budget, fewer values stay so, and none at last.

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
    def uses_budget(self) -> bool:
        return "wide-values" in self._settings().recovery

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
        path, most = work.folder / "quantised.onnx", self._settings().wide_work
        found = self._quantised(work.before[-1].onnx, path, work)
        notes = [str(n) for n in found.notices[:3]]
        for wide_work in (most / 2, most / 4, 0.0):
            if not found.draft.parameters.wide or self._is_within_budget(work, path):
                break
            found = self._quantised(work.before[-1].onnx, path, work, wide_work)
            notes = [f"for the budget, at most {wide_work:.0%} of the work stays in floats instead of {most:.0%}"]
            notes += [str(n) for n in found.notices[:3]]
        return Outcome(onnx=path, notes=(*notes, *in_floats(found.floats, len(found.products) + len(found.rounded))))

    def _is_within_budget(self, work: Work, model: Path) -> bool:
        with tempfile.TemporaryDirectory(prefix="edgesmith-quantise-") as name:
            found = program_figures(work, work.limits, model, Path(name))
        return all(found[limit.figure] <= limit.most for limit in work.limits if limit.figure in found)

    def _quantised(self, model: Path, path: Path, work: Work, wide_work: float | None = None) -> Quantized:
        data, settings = work.data.calibration, self._settings()
        if wide_work is not None:
            settings = replace(settings, wide_work=wide_work)
        progress = work.progress
        return api.quantize(model, data, precision=self.to, settings=settings, output=path, progress=progress)

    def _settings(self) -> Settings:
        own: dict[str, Any] = {"precision": self.to, "max_accuracy_drop": self.max_accuracy_drop}
        own |= {"observer": self.observer} if self.observer else {}
        own |= {} if self.recovery is None else {"recovery": self.recovery}
        return Settings(**own)
