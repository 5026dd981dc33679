"""Accuracy regained after quantisation, without training; one file a method."""

from edgesmith.quantize.recovery.base import RECOVERIES, Draft, Evidence, Recovery, recovery

__all__ = ["RECOVERIES", "Draft", "Evidence", "Recovery", "recovery"]
