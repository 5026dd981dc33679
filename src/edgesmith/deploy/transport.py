"""How commands and files reach a device. Devices need a POSIX shell, ``sha256sum`` and ``mv -T``."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from edgesmith.errors import BadInput, DeviceError
from edgesmith.registry import Registry
from edgesmith.target import Target

__all__ = ["TRANSPORTS", "Transport", "connect", "ran"]

ADDRESSES = "ssh://user@host[:port][/folder], adb://serial[/folder], qemu:[cpu], or local[:folder]"
LAST_LINES = 5
SECONDS = 600.0
"""After which a command on a device counts as hung."""


class Transport(AbstractContextManager["Transport"], ABC):
    """A connection to a device.

    Args:
        root: folder on the device below which artifacts are installed; relative to where its shell starts.
    """

    root: str
    starter: Sequence[str] = ()
    """Words before the path of a program that start it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""

    @abstractmethod
    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script in the device's shell; the exit status is the script's.

        Args:
            stdin: a file here that the script reads from its standard input.

        Raises:
            DeviceError: the device cannot be reached.
        """

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device.

        Args:
            remote: where to, in the words of the device's shell.

        Raises:
            DeviceError: it cannot be reached or refuses.
        """
        self.run(f"cat > {remote}", stdin=local)

    def run(self, script: str, *, stdin: Path | None = None) -> str:
        """What a script prints.

        Raises:
            DeviceError: it fails; the message is what it said last.
        """
        done = self.shell(script, stdin=stdin)
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
            raise DeviceError(said or f"exit status {done.returncode}", where=self.name)
        return done.stdout

    def __exit__(self, *_: object) -> None:
        return None


Connect = Callable[[SplitResult, Target], Transport]
"""Opens the connection that an address names, for programs of a target."""

TRANSPORTS: Registry[Connect] = Registry("transport", "edgesmith.deploy.transports")


def connect(address: str, target: Target) -> Transport:
    """The connection to a device, as ``ADDRESSES`` says.

    Raises:
        BadInput: it is no such address.
        DeviceError: the device cannot be reached.
    """
    text = address if ":" in address else f"{address}:"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise BadInput(str(error), where=f"--to {address}") from error
    if parts.scheme not in TRANSPORTS:
        raise BadInput(
            f"{address!r} is no address of a device",
            where="--to",
            hint=ADDRESSES,
        )
    return TRANSPORTS[parts.scheme](parts._replace(path=unquote(parts.path)), target)


def ran(command: Sequence[str], name: str, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command here that talks to a device.

    Raises:
        DeviceError: it is not installed, or hangs.
    """
    try:
        with (stdin or Path("/dev/null")).open("rb") as file:
            return subprocess.run(
                command, stdin=file, capture_output=True, text=True, errors="replace", timeout=SECONDS
            )
    except FileNotFoundError as error:
        raise DeviceError(f"{command[0]} is not installed", where=name) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"no answer for {SECONDS:.0f} s", where=name) from error
