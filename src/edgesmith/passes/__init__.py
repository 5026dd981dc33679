"""Canonicalising rewrites of the graph: one file a pass, run to a fixed point."""

from edgesmith.passes.engine import PASSES, Pass, PassReport, Rewrite, Skipped, optimize, rewrite

__all__ = ["PASSES", "Pass", "PassReport", "Rewrite", "Skipped", "optimize", "rewrite"]
