"""Proof that a program computes what the model says."""

from edgesmith.verify.tolerance import output_tolerances

__all__ = ["output_tolerances"]
