"""What the program may take, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.chain.metrics import Metrics
from edgesmith.errors import BadInput

__all__ = ["TOLERANCE", "Budget", "Limit"]

TOLERANCE = 0.05
"""A cost so little below its limit is near enough."""


@dataclass(frozen=True)
class Limit:
    """One figure of the program that has a greatest value.

    Args:
        figure: attribute of ``Metrics``.
        unit: for messages.
    """

    figure: str
    most: float
    unit: str

    def of(self, metrics: Metrics) -> float:
        """The figure over its limit: at most 1 is within."""
        return float(getattr(metrics, self.figure)) / self.most

    def says(self, metrics: Metrics) -> str:
        value = float(getattr(metrics, self.figure))
        ratio = self.of(metrics)
        verdict = "within" if ratio <= 1 else f"{ratio - 1:.1%} above"
        return f"{self.text(value)}, {verdict} {self.text(self.most)}"

    def text(self, value: float) -> str:
        """A value of the figure with its unit."""
        return f"{value:,.0f} {self.unit}" if value >= 1000 else f"{value:.4g} {self.unit}"


@dataclass(frozen=True)
class Budget:
    """Limits of the final program; a text such as ``"50%"`` is a share of what the model has before compression.

    Args:
        latency_ms: milliseconds of one inference.
        size_kb: kilobytes (1000 bytes) of the library, weights included, or of flash.
        macs: multiply-adds of one inference.
        accuracy_drop: points of top-1 accuracy that may be lost from the trained model to the final program.
    """

    latency_ms: float | str | None = None
    size_kb: float | str | None = None
    macs: float | str | None = None
    accuracy_drop: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency_ms", "size_kb", "macs"):
            value = getattr(self, name)
            if value is not None:
                _limit(value, 1.0, name)
        if self.accuracy_drop is not None and not self.accuracy_drop >= 0:
            raise BadInput(f"{self.accuracy_drop} must not be below 0", where="accuracy_drop")

    @property
    def has_costs(self) -> bool:
        return any(v is not None for v in (self.latency_ms, self.size_kb, self.macs))

    def limits(self, first: Metrics) -> tuple[Limit, ...]:
        """The limits of costs.

        Args:
            first: of the model before compression, which shares refer to.
        """
        given = (
            ("latency_ms", self.latency_ms, first.latency_ms, "ms"),
            ("size_kb", self.size_kb, first.size_kb, "kB"),
            ("macs", self.macs, first.macs, "MACs"),
        )
        return tuple(Limit(n, _limit(v, float(whole), n), unit) for n, v, whole, unit in given if v is not None)

    def met(self, metrics: Metrics, first: Metrics) -> bool:
        """Whether all costs are within their limits."""
        return all(limit.of(metrics) <= 1 for limit in self.limits(first))


def _limit(value: float | str, whole: float, where: str) -> float:
    try:
        found = float(value.rstrip("% ")) / 100 * whole if isinstance(value, str) else float(value)
        if isinstance(value, str) and not value.rstrip().endswith("%"):
            raise ValueError
    except ValueError:
        raise BadInput(f'{value!r} is neither a number nor a share such as "50%"', where=where) from None
    if not found > 0:
        raise BadInput(f"{value!r} must be above 0", where=where)
    return found
