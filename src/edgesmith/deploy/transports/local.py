"""A folder of this machine."""

from __future__ import annotations

import tempfile
from urllib.parse import SplitResult

from edgesmith.deploy.transport import TRANSPORTS, Transport
from edgesmith.errors import BadInput
from edgesmith.target import Target

__all__ = ["Local"]

ROOT = "edgesmith-deployed"


class Local(Transport):
    def __init__(self, root: str, scratch: str = "") -> None:
        self.root, self.scratch = root, scratch or tempfile.gettempdir()

    @property
    def name(self) -> str:
        return "this machine"

    def command(self, script: str) -> list[str]:
        return ["sh", "-c", script]


@TRANSPORTS.register("local")
def connect_local(parts: SplitResult, target: Target) -> Transport:
    if parts.netloc:
        raise BadInput("names a host", where=parts.geturl(), hint="local:folder or local:/folder")
    return Local(parts.path or ROOT, parts.path)
