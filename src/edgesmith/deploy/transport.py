"""How commands and files reach a device, which needs a POSIX shell and ``sha256sum``."""

from __future__ import annotations

import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from edgesmith.deploy.commands import ran
from edgesmith.device.channel import Channel, Lost
from edgesmith.errors import BadInput, DeviceError, TargetError
from edgesmith.registry import Registry
from edgesmith.target import Target

__all__ = ["TRANSPORTS", "Transport", "connect", "quoted"]

ADDRESSES = "ssh://user@host[:port][/folder], adb://serial[/folder], qemu:[cpu], or local[:folder]"
LAST_LINES = 5
MOST_SAID = 200
"""Characters of a message that is none of ours."""
RUNS = {
    **dict.fromkeys(("aarch64", "arm64"), ("aarch64", "arm")),
    **dict.fromkeys(("armv8l", "armv7l", "armv6l"), ("arm",)),
    "amd64": ("x86_64",),
}
"""Architectures, as triples name them, of the programs that run where ``uname -m`` says so; elsewhere the same name."""
ARCHS_OF_32_BITS = ("arm",)
BEGUN = "edgesmith-begun"
"""What scripts print first: before it stands what start-up files of the device's shell say."""


class Transport(AbstractContextManager["Transport"], ABC):
    """A connection to a device.

    Args:
        root: folder on the device below which artifacts are installed; relative to where its shell starts.
        scratch: folder below which lies what is needed only while somebody is connected.
    """

    root: str
    scratch: str
    starter: Sequence[str] = ()
    """Words before the path of a program that start it."""
    tells_time: bool = True
    """Whether what programs take there is what they take on a device."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""

    @abstractmethod
    def command(self, script: str) -> list[str]:
        """What runs a script in the device's shell: a command here, with the script's input, output and exit status."""

    def check_reached(self, done: subprocess.CompletedProcess[str]) -> None:
        """Raise ``Unreachable`` where a command ended because of the connection."""

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script in the device's shell; the exit status is the script's.

        Args:
            stdin: a file here that the script reads from its standard input.

        Raises:
            DeviceError: the device cannot be reached.
        """
        done = ran(self.command(f"echo {BEGUN}; {script}"), self.name, stdin)
        self.check_reached(done)
        said, begun, printed = done.stdout.partition(f"{BEGUN}\n")
        if not begun and not done.returncode:
            raise DeviceError(f"runs no commands, but says {said.strip()[-MOST_SAID:]!r}", where=self.name)
        done.stdout = printed if begun else said
        return done

    def serve(self, program: str, arguments: Sequence[str], service: int, seconds: float) -> Channel:
        """Start a program that answers; it ends with the connection.

        Args:
            program: its path, in the words of the device's shell.
            service: what it must offer.
            seconds: without a sign of life, after which it counts as hung.

        Raises:
            DeviceError: it cannot be started, or does not greet.
        """
        # With a command behind it, the shell tells by which signal a program ended; some servers do not.
        try:
            return Channel(self.command(f"{self.started(program, arguments)}; exit $?"), self.name, service, seconds)
        except Lost as error:
            self.check_reached(subprocess.CompletedProcess([], error.status or 0, "", error.why))
            raise

    def started(self, program: str, arguments: Sequence[str]) -> str:
        """The shell's words that start a program."""
        return " ".join(w for w in (shlex.join(self.starter), program, shlex.join(arguments)) if w)

    def check_machine(self, arch: str) -> None:
        """Raise ``DeviceError`` where programs for an architecture do not run."""
        machine, bits = [*self.run("uname -m; getconf LONG_BIT 2>/dev/null || true").split(), "", ""][:2]
        programs = [a for a in RUNS.get(machine, (machine,)) if bits != "32" or a in ARCHS_OF_32_BITS]
        if not self.starter and arch not in programs:
            system = f"{machine} with a system of 32 bits" if bits == "32" else machine
            raise DeviceError(
                f"is {system}, the programs are for {arch}",
                where=self.name,
                hint="Compile with --target for this device ('edgesmith targets').",
            )

    def hashes(self, folder: str, files: str) -> dict[str, str]:
        """SHA-256 of files on the device by their path below a folder; what is not there is left out.

        Args:
            folder, files: in the words of its shell.
        """
        lines = self.run(f"cd {folder} 2>/dev/null && sha256sum {files} 2>/dev/null || true").splitlines()
        pairs = (line.split(maxsplit=1) for line in lines)
        return {name.lstrip("*"): digest for digest, name in pairs}

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


def quoted(folder: str) -> str:
    """A folder in the words of the device's shell; ``~/`` stays the home folder."""
    return f"~/{shlex.quote(folder[2:])}" if folder.startswith("~/") else shlex.quote(folder)


def connect(address: str, target: Target) -> Transport:
    """The connection to a device, as ``ADDRESSES`` says.

    Raises:
        BadInput: it is no such address.
        TargetError: programs for the target are not sent to devices.
        DeviceError: the device cannot be reached.
    """
    if target.is_bare:
        raise TargetError(
            "microcontrollers are not deployed to: nothing can be sent to them or started there",
            where=str(target),
            hint="Link the static library into your project, or run the self-test under a debugger that has "
            "semihosting; 'edgesmith verify' without --on uses a board that QEMU emulates (docs/microcontrollers.md).",
        )
    text = address if ":" in address else f"{address}:"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise BadInput(str(error), where=address) from error
    if parts.scheme not in TRANSPORTS:
        raise BadInput(f"{address!r} is no address of a device", hint=ADDRESSES)
    if parts.query or parts.fragment:
        raise BadInput("folders with ? and # are written with %3F and %23", where=address)
    return TRANSPORTS[parts.scheme](parts._replace(path=unquote(parts.path)), target)
