"""Android's debug bridge."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from urllib.parse import SplitResult

from edgesmith.deploy.commands import ran
from edgesmith.deploy.transport import TRANSPORTS, Transport
from edgesmith.errors import DeviceError, Unreachable
from edgesmith.target import Target

__all__ = ["Adb"]

ROOT, SCRATCH = "/data/local/tmp/edgesmith", "/data/local/tmp"
"""Where programs of the shell's user may run."""
_LOST = ("error: device", "error: no devices", "error: closed", "adb: device", "adb: no devices")


class Adb(Transport):
    """Args:
    serial: of the device; empty: the only one.
    """

    def __init__(self, serial: str, root: str, scratch: str) -> None:
        self.serial, self.root, self.scratch = serial, root, scratch
        self._command = ["adb", *(["-s", serial] if serial else [])]

    @property
    def name(self) -> str:
        return f"adb {self.serial}".strip()

    def command(self, script: str) -> list[str]:
        # Without a terminal, bytes pass unchanged.
        return [*self._command, "shell", "-T", script]

    def push(self, local: Path, remote: str) -> None:
        done = ran([*self._command, "push", str(local), *shlex.split(remote)], self.name)
        self.check_reached(done)
        if done.returncode:
            raise DeviceError((done.stdout + done.stderr).strip(), where=self.name)

    def check_reached(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode and done.stderr.startswith(_LOST):
            raise Unreachable(done.stderr.strip(), where=self.name, hint="adb devices lists what is connected")


@TRANSPORTS.register("adb")
def connect_adb(parts: SplitResult, target: Target) -> Transport:
    folder = parts.path if parts.path.strip("/") else ""
    return Adb(parts.netloc, folder or ROOT, folder or SCRATCH)
