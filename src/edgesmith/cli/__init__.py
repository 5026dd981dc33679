"""The command line: one file a command."""

from edgesmith.cli.app import main

__all__ = ["main"]
