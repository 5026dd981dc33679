"""Quantisation-aware training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import onnx

from edgesmith import api
from edgesmith.chain.exporting import agreement
from edgesmith.chain.learning import Taught, train
from edgesmith.chain.stage import Outcome, in_floats, stage
from edgesmith.chain.work import Work
from edgesmith.compress import qat
from edgesmith.compress.qat.quantized_module import layers
from edgesmith.compress.qat.settings import BLOCKS, LayerBits
from edgesmith.compress.training import Callback, RunState

__all__ = ["Following", "Qat"]

BITS = 8


@stage("qat")
@dataclass(frozen=True, kw_only=True)
class Qat(Taught):
    """The network is trained with rounded weights and activations, and becomes the integer model that was trained.

    Args:
        bits: of weights, 2 to 8.
        weights, activations: quantisers; see ``edgesmith.compress.qat.Settings``.
        keep: patterns of layers whose weights have 8 bits.
        floats: patterns of layers that stay in floats.
    """

    gives_onnx: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    epochs: int = 3
    optimiser: str = "adamw"
    lr: float = 2e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    bits: int = BITS
    weights: str = "lsq"
    activations: str = "lsq"
    keep: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._quantisers()

    @property
    def precision(self) -> str:
        return "int4" if self.weights == BLOCKS else "int8"

    def planned(self, budget: str) -> str:
        return f"{self.bits} bits, {self.epochs} epochs"

    @property
    def of_preview(self) -> dict[str, Any]:
        return {"bits": self.bits, "weights": self.weights}

    def preview(self, model: Path, work: Work) -> Path | None:
        """All weights in as few bits as most have in the end; where those are 8, a stand-in will do."""
        settings = self._quantisers().rounding(LayerBits(self.weights, self.bits))
        if self.weights in (BLOCKS, "inq") or not (settings.is_signs or settings.weight_bits < BITS):
            return None
        path = model.with_name("preview.onnx")
        settings = replace(settings, observer="min-max")
        api.quantize(model, work.data.calibration, settings=settings, output=path, progress=work.progress)
        return path

    def run(self, work: Work) -> Outcome:
        module = qat.prepare(work.module, work.example, self._quantisers(), init=work.data.calibration_batches)
        loss, extra, closing = self.loss(work, module)
        with closing:
            settings = self.settings(work.recipe.seed)
            said = train(work, module, settings, loss=loss, extra=extra, callbacks=[Following(self.epochs)])
        path = work.folder / "quantised.onnx"
        onnx.save(qat.convert(module).model, path)
        alike = agreement(path, module, work.data.calibration_batches[0])
        floats = in_floats(module.quantization.floats, len(dict(layers(module))))
        return Outcome(onnx=path, epochs=self.epochs, notes=(said, alike, *floats))

    def _quantisers(self) -> qat.Settings:
        own: dict[str, Any] = {"weights": self.weights, "activations": self.activations, "weight_bits": self.bits}
        return qat.Settings(**own, keep=self.keep, floats=self.floats)


class Following(Callback):
    """Tells the quantisers where training is, and decays what they clip at (PACT, arXiv:1805.06085, section 3)."""

    def __init__(self, epochs: int) -> None:
        self._schedule = qat.Schedule(epochs)

    def on_start(self, run: RunState) -> None:
        self._schedule.on_epoch(run.module, run.epoch)

    def on_gradients(self, run: RunState) -> None:
        qat.decay_clipping(run.module, run.settings.weight_decay)

    def on_epoch(self, run: RunState) -> None:
        self._schedule.on_epoch(run.module, run.epoch + 1)
