"""Figures of a network after a stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Metrics"]


@dataclass(frozen=True)
class Metrics:
    """What a stage's program is and does.

    Args:
        accuracy: percent of the test pictures whose class it finds.
        latency_ms: median milliseconds of one inference.
        latency_source: where they come from.
        size_kb: 1000 bytes of its library, weights included, or of a microcontroller's flash.
        macs: multiply-adds of one inference.
        parameters: numbers that training changes.
    """

    accuracy: float
    latency_ms: float
    latency_source: str
    size_kb: float
    macs: int
    parameters: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
