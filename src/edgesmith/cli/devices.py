"""Programs that run on a device while a command works with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from edgesmith.deploy import Attached, attach
from edgesmith.device import Artifact
from edgesmith.errors import BadInput

__all__ = ["OnOption", "attached", "require_real"]

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="ADDRESS",
        help="Run it on a device: ssh://user@host, adb://serial, qemu:cpu or local: (with :port and /folder).",
        show_default=False,
    ),
]


@contextmanager
def attached(address: str, program: Artifact) -> Iterator[tuple[Attached | None, Artifact]]:
    """The device at an address (None where none is given: this process), and the program as it runs there."""
    if not address:
        yield None, program
        return
    with attach(address, program.target) as device:
        yield device, device.chosen(program)


def require_real(device: Attached, hint: str) -> None:
    """Raise ``BadInput`` where times say nothing."""
    if not device.transport.tells_time:
        raise BadInput("is an emulator: times on it say nothing about any processor", where=device.name, hint=hint)
