"""Low-rank factors in the place of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgesmith.chain.stage import Outcome, Stage, stage
from edgesmith.chain.work import Work
from edgesmith.compress.lowrank import METHODS, ByLatency, Energy, MacsTarget, RankRule, apply_shape, factorize
from edgesmith.errors import BadInput

__all__ = ["Factorise"]


@stage("factorise")
@dataclass(frozen=True, kw_only=True)
class Factorise(Stage):
    """Layers become products of smaller ones, where these need fewer multiply-adds.

    Args:
        by: ``latency``: layers are replaced only where the predicted time of the whole program falls; ``energy``: ranks
            keep this share of the layers' energy; ``macs``: this share of the network's multiply-adds stays.
        keep: that share; with ``latency``, of the energy.
        factors: methods; each layer takes the first that accepts it.
        include, exclude: shell patterns of layers.
        calibration: fit factors to the layers' outputs on training pictures.
    """

    compresses: ClassVar[bool] = True

    by: str = "latency"
    keep: float = 0.9
    factors: tuple[str, ...] = ("tucker2", "channel", "svd")
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    calibration: bool = True

    def __post_init__(self) -> None:
        if self.by not in ("latency", "energy", "macs"):
            raise BadInput(f"{self.by!r} is not one of latency, energy, macs", where="by")
        if not 0 < self.keep < 1:
            raise BadInput(f"{self.keep} is not between 0 and 1", where="keep")
        for name in self.factors:
            if name not in METHODS:
                raise BadInput(f"{name!r} is not one of {', '.join(METHODS)}", where="factors")

    @property
    def uses_target(self) -> bool:
        return self.by == "latency"

    def planned(self, budget: str) -> str:
        return f"by {self.by}, keep {self.keep:g}"

    def run(self, work: Work) -> Outcome:
        found = factorize(
            work.module,
            work.example,
            self.factors,
            self._rule(work),
            include=self.include,
            exclude=self.exclude,
            data=work.data.calibration_batches if self.calibration else None,
        )
        saved = [f"{r.name} {r.method} {r.ranks}" for r in found.layers]
        return Outcome(found.module, {"text": found.to_json()}, notes=("replaced: " + (", ".join(saved) or "nothing"),))

    def rebuilt(self, module: Any, shape: Mapping[str, Any], work: Work) -> Any:
        return apply_shape(module, shape["text"])

    def _rule(self, work: Work) -> RankRule:
        if self.by == "latency":
            return ByLatency(work.predicted(), rules=(Energy(self.keep),))
        return MacsTarget(share=self.keep) if self.by == "macs" else Energy(self.keep)
