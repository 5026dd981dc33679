"""All but the outermost elements."""

from __future__ import annotations

import numpy as np

from edgesmith.quantize.histogram import Histogram
from edgesmith.quantize.observers.base import observer
from edgesmith.quantize.observers.histogrammed import Histogrammed
from edgesmith.quantize.parameters import Range


@observer("percentile")
class Percentile(Histogrammed):
    """The range that holds ``Settings.percentile`` percent of all elements; half of the others lie on either side.

    Values that are never negative lose all of them above. Source: Wu et al., Integer Quantization for Deep Learning
    Inference, 2020, section 3.3.
    """

    def range(self) -> Range:
        total, outside = self.histogram.total, 1 - self.settings.percentile / 100
        numbers, below = _distribution(self.histogram)
        cut = outside * total / (2 if self.low < 0 < self.high else 1)
        low = float(np.interp(cut, below, numbers)) if self.low < 0 else self.low
        high = float(np.interp(total - cut, below, numbers)) if self.high > 0 else self.high
        return max(low, self.low), min(high, self.high)


def _distribution(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Interval ends, and how many elements lie below each; zeros are a step at 0."""
    edges = histogram.edges
    below = np.concatenate([[0], np.cumsum(histogram.counts)]).astype(np.float64)
    at = int(np.searchsorted(edges, 0.0, side="right"))
    under = float(np.interp(0.0, edges, below)) if edges.size > 1 else 0.0
    numbers = np.concatenate([edges[:at], [0.0, 0.0], edges[at:]])
    counts = np.concatenate([below[:at], [under, under + histogram.zeros], below[at:] + histogram.zeros])
    return numbers, counts
