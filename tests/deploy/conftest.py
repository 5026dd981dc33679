"""Artifacts that tests of this folder may change, and devices."""

from devices import server, stand_in
from two_versions import first, second

__all__ = ["first", "second", "server", "stand_in"]
