"""The command line: one file a command."""

from edgesmith.cli.app import app, main

__all__ = ["app", "main"]
