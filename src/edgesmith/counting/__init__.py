"""What programs for other processors execute: instructions counted under QEMU, and what cores would take for them."""

from edgesmith.counting.counts import Block, Counts
from edgesmith.counting.inference import Inference, count_inference
from edgesmith.counting.plugin import count

__all__ = ["Block", "Counts", "Inference", "count", "count_inference"]
