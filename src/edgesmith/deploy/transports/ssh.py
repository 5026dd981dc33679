"""OpenSSH: the user's own client, with its settings, keys and agent."""

from __future__ import annotations

import subprocess
import tempfile
from urllib.parse import SplitResult

from edgesmith.deploy.commands import ran
from edgesmith.deploy.transport import TRANSPORTS, Transport
from edgesmith.errors import BadInput, Unreachable
from edgesmith.target import Target

__all__ = ["Ssh"]

ROOT, SCRATCH = "edgesmith", "/tmp"
ADDRESS = "ssh://user@host[:port][/folder]; /~/folder lies in the home folder"
UNREACHABLE = 255
"""Exit status of ssh itself."""
CONNECT_SECONDS = 10


class Ssh(Transport):
    """One connection that all commands share.

    Args:
        host: as the client takes it, with a user if one is needed.
        port: None: as the client's settings say.
    """

    def __init__(self, host: str, port: int | None, root: str, scratch: str) -> None:
        self.host, self.root, self.scratch = host, root, scratch
        self._sockets = tempfile.TemporaryDirectory(prefix="es-")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPath": f"{self._sockets.name}/%C",
            "ControlPersist": "60",
        }
        self._command = ["ssh", *(f"-o{key}={value}" for key, value in options.items())]
        self._command += ["-p", str(port)] if port else []

    @property
    def name(self) -> str:
        return self.host

    def command(self, script: str) -> list[str]:
        return [*self._command, "--", self.host, script]

    def check_reached(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode == UNREACHABLE:
            said = (done.stderr.strip().splitlines() or ["the connection was lost"])[-1]
            raise Unreachable(said, where=self.name, hint=f"Try: ssh {self.host}")

    def __exit__(self, *_: object) -> None:
        ran([*self._command, "-O", "exit", "--", self.host], self.name)
        self._sockets.cleanup()


@TRANSPORTS.register("ssh")
def connect_ssh(parts: SplitResult, target: Target) -> Transport:
    user, _, place = parts.netloc.rpartition("@")
    # The host as it is written: names in the client's settings tell upper from lower case.
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    if not host or parts.netloc.startswith("-"):
        raise BadInput("names no host", where=parts.geturl(), hint=ADDRESS)
    if ":" in user:
        raise BadInput("passwords are not taken", where=ADDRESS, hint="Use a key, or your client's agent.")
    folder = parts.path if parts.path.strip("/") else ""
    folder = folder.removeprefix("/") if folder.startswith("/~/") else folder
    return Ssh(f"{user}@{host}" if user else host, parts.port, folder or ROOT, folder or SCRATCH)
