"""Devices."""

from devices import server

__all__ = ["server"]
