"""Artifacts that tests of this folder may change."""

from two_versions import built, first, second

__all__ = ["built", "first", "second"]
