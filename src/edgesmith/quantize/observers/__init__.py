"""How the range of a value is chosen from what it was in calibration; one file a method."""

from edgesmith.quantize.observers.base import OBSERVERS, Observer, observer

__all__ = ["OBSERVERS", "Observer", "observer"]
