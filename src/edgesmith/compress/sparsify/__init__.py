"""Weights that become sparse in training: one by one, N of M, or in blocks that the compiler skips."""

from edgesmith.compress.sparsify.pattern import PATTERNS, Pattern
from edgesmith.compress.sparsify.patterns.blocks import Blocks
from edgesmith.compress.sparsify.patterns.n_m import NM
from edgesmith.compress.sparsify.patterns.unstructured import Unstructured
from edgesmith.compress.sparsify.schedule import Cubic
from edgesmith.compress.sparsify.sparsifier import Sparsifier

__all__ = ["NM", "PATTERNS", "Blocks", "Cubic", "Pattern", "Sparsifier", "Unstructured"]
