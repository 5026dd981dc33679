"""A device that is reached by a transport, for programs that run while somebody is connected."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgesmith.deploy.transport import Transport, connect
from edgesmith.deploy.workplace import Workplace
from edgesmith.device import Artifact, Device
from edgesmith.device.session import MODEL_SERVICE, Session, arguments
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.target import Target

__all__ = ["Attached", "attach"]


class Attached(Device):
    """Programs are sent to a folder there, if they do not lie in it, and are gone afterwards.

    Args:
        arch: of the programs.
    """

    def __init__(self, transport: Transport, place: Workplace, arch: str) -> None:
        self.transport, self._place = transport, place
        transport.check_machine(arch)

    @property
    def name(self) -> str:
        return self.transport.name

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        if not artifact.executable.is_file():
            raise ArtifactError("has no executable", where=str(artifact.path), hint="compile the model again")
        self._place.put(f for f in (artifact.executable, artifact.library) if f.is_file())
        words = arguments(artifact, threads)
        return Session(self._place.serve(artifact.executable.name, words, MODEL_SERVICE), artifact)

    def start(self, program: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self._place.put((program, *program.parent.glob("lib*.so")))
        try:
            printed = self._place.start(program.name, arguments)
        except DeviceError as error:
            return subprocess.CompletedProcess([], 1, "", error.why)
        return subprocess.CompletedProcess([], 0, printed, "")


@contextmanager
def attach(address: str, target: Target) -> Iterator[Attached]:
    """The device at an address (``connect``), for programs of a target.

    Raises:
        BadInput: it is no address.
        DeviceError: the device cannot be reached, or is of another kind.
    """
    with connect(address, target) as transport, Workplace(transport) as place:
        yield Attached(transport, place, target.arch)
