"""Artifacts that tests of this folder may change."""

from two_versions import first, second

__all__ = ["first", "second"]
