"""A folder on a device for programs that are needed only while somebody is connected."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from edgesmith.deploy.transport import Transport, quoted
from edgesmith.device.artifact import sha256
from edgesmith.device.channel import Channel, Lost
from edgesmith.errors import DeviceError, Unreachable

__all__ = ["Workplace"]


class Workplace(AbstractContextManager["Workplace"]):
    """The folder appears with the first file and goes on leaving, if the device can be reached then.

    Files that disappear meanwhile, as when a device starts anew, are sent again by the next ``put``.
    """

    def __init__(self, device: Transport) -> None:
        self.device = device
        self._folder = f"{quoted(device.scratch.rstrip('/'))}/edgesmith-{secrets.token_hex(8)}"
        self._used = False

    def put(self, files: Iterable[Path]) -> int:
        """Bring files, those that are not there; gives the bytes sent.

        Raises:
            DeviceError: the device cannot be reached, refuses, or a file did not arrive whole.
        """
        wanted = {f: sha256(f) for f in files}
        names = " ".join(quoted(f.name) for f in wanted)
        self._used = True
        with _another_folder():
            self.device.run(f"mkdir -p -m 700 {self._folder}")
        present = self.device.hashes(self._folder, names)
        missing = [f for f, digest in wanted.items() if present.get(f.name) != digest]
        for file in missing:
            place = f"{self._folder}/{quoted(file.name)}"
            self.device.run(f"rm -f {place}")
            self.device.push(file, place)
        # Also what was there: the connection may have been lost before this.
        self.device.run(f"cd {self._folder} && chmod 700 {names}")
        if missing:
            present = self.device.hashes(self._folder, names)
            for file in missing:
                if present.get(file.name) != wanted[file]:
                    raise DeviceError(f"{file.name} did not arrive whole", where=self.device.name)
        return sum(f.stat().st_size for f in missing)

    def remove(self, files: Iterable[str]) -> None:
        """Remove files by their names."""
        self.device.run(f"cd {self._folder} 2>/dev/null && rm -f {' '.join(map(quoted, files))} || true")

    def start(self, program: str, arguments: Sequence[str] = ()) -> str:
        """What a program prints, started by its name; raises ``DeviceError`` when it fails."""
        return self.device.run(self.device.started(self._path(program), arguments))

    def serve(self, program: str, arguments: Sequence[str], service: int, seconds: float = 120.0) -> Channel:
        """Start a program that answers; see ``Transport.serve``."""
        with _another_folder():
            return self.device.serve(self._path(program), arguments, service, seconds)

    def _path(self, program: str) -> str:
        return f"{self._folder}/{quoted(program)}"

    def __exit__(self, *_: object) -> None:
        if self._used:
            with suppress(DeviceError):
                self.device.run(f"rm -rf {self._folder}")


@contextmanager
def _another_folder() -> Iterator[None]:
    """What is not the connection's fault may be the folder's: some hold no files, some no programs."""
    try:
        yield
    except Unreachable:
        raise
    except DeviceError as error:
        status = error.status if isinstance(error, Lost) else CANNOT_START
        if status != CANNOT_START or error.hint:
            raise
        raise DeviceError(error.why, where=error.where, hint=_HINT) from error


CANNOT_START = 126
"""Exit status of a shell that may not start a program."""
_HINT = "Name a folder of the device for files and programs: ssh://user@host/folder"
