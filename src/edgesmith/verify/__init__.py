"""Proof that a program computes what the model says."""

from edgesmith.verify.accumulate import Accumulated, accumulate
from edgesmith.verify.compare import Difference, compare
from edgesmith.verify.integers import wrong_integers
from edgesmith.verify.result import Layer, Verification
from edgesmith.verify.verify import verify

__all__ = ["Accumulated", "Difference", "Layer", "Verification", "accumulate", "compare", "verify", "wrong_integers"]
