"""A folder of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import SplitResult

from edgesmith.deploy.transport import TRANSPORTS, Transport, ran
from edgesmith.target import Target

__all__ = ["Local"]

ROOT = "edgesmith-deployed"


class Local(Transport):
    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def name(self) -> str:
        return "this machine"

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        return ran(["sh", "-c", script], self.name, stdin)


@TRANSPORTS.register("local")
def connect_local(parts: SplitResult, target: Target) -> Transport:
    return Local(parts.path or ROOT)
