"""Running artifacts: on this machine today; other devices plug in beside ``local``."""

from edgesmith.device.artifact import Artifact, load
from edgesmith.device.local import Context, Program

__all__ = ["Artifact", "Context", "Program", "load"]
