"""Edgesmith turns trained networks into small, fast, verified native programs."""

from edgesmith.api import compile
from edgesmith.device import Artifact, load
from edgesmith.errors import EdgesmithError
from edgesmith.version import __version__

__all__ = ["Artifact", "EdgesmithError", "__version__", "compile", "load"]
