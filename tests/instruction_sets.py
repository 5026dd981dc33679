"""Instruction sets of this machine."""

from __future__ import annotations

from edgesmith.target import parse

__all__ = ["native_sets"]

ALIKE = ("sse4",)
"""Sets with the vectors of another one and some primitives besides, which ``target/test_isa.py`` tests."""


def native_sets() -> list[str]:
    """Those whose kernels differ, the widest last."""
    return [isa for isa in parse("native").isas if isa not in ALIKE]
