"""Android's debug bridge."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from urllib.parse import SplitResult

from edgesmith.deploy.transport import TRANSPORTS, Transport, ran
from edgesmith.errors import DeviceError
from edgesmith.target import Target

__all__ = ["Adb"]

ROOT = "/data/local/tmp/edgesmith"
"""Where programs of the shell's user may run."""
_LOST = ("error: device", "error: no devices", "error: closed", "adb: device", "adb: no devices")


class Adb(Transport):
    """Args:
    serial: of the device; empty: the only one.
    """

    def __init__(self, serial: str, root: str) -> None:
        self.serial, self.root = serial, root
        self._command = ["adb", *(["-s", serial] if serial else [])]

    @property
    def name(self) -> str:
        return f"adb {self.serial}".strip()

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self._reached(ran([*self._command, "shell", script], self.name, stdin))

    def push(self, local: Path, remote: str) -> None:
        done = self._reached(ran([*self._command, "push", str(local), *shlex.split(remote)], self.name))
        if done.returncode:
            raise DeviceError((done.stdout + done.stderr).strip(), where=self.name)

    def _reached(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        if done.returncode and done.stderr.startswith(_LOST):
            raise DeviceError(done.stderr.strip(), where=self.name, hint="adb devices lists what is connected")
        return done


@TRANSPORTS.register("adb")
def connect_adb(parts: SplitResult, target: Target) -> Transport:
    return Adb(parts.netloc, parts.path if parts.path.strip("/") else ROOT)
