"""Everything that was seen."""

from __future__ import annotations

from edgesmith.quantize.observers.base import Observer, observer
from edgesmith.quantize.parameters import Range


@observer("min-max")
class MinMax(Observer):
    """From the smallest to the largest element of all samples: nothing that was seen is cut off."""

    def range(self) -> Range:
        return self.low, self.high
