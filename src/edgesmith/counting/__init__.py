"""What programs for other processors execute: instructions counted under QEMU, and what cores would take for them."""

from edgesmith.counting.counts import Block, Counts, StepCounts
from edgesmith.counting.inference import Inference, count_inference
from edgesmith.counting.plugin import count
from edgesmith.counting.steps import count_steps

__all__ = ["Block", "Counts", "Inference", "StepCounts", "count", "count_inference", "count_steps"]
