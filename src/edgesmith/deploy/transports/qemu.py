"""A processor that QEMU emulates, in a folder of this machine."""

from __future__ import annotations

from urllib.parse import SplitResult

from edgesmith.deploy.transport import TRANSPORTS, Transport
from edgesmith.deploy.transports.local import ROOT, Local
from edgesmith.device.emulator import Emulator
from edgesmith.target import Target

__all__ = ["Emulated"]


class Emulated(Local):
    tells_time = False

    def __init__(self, root: str, emulator: Emulator) -> None:
        super().__init__(root)
        self.emulator = emulator
        self.starter = emulator.command

    @property
    def name(self) -> str:
        return self.emulator.name


@TRANSPORTS.register("qemu")
def connect_qemu(parts: SplitResult, target: Target) -> Transport:
    """``qemu:`` takes a processor that fits the target, ``qemu:cortex-a72`` the one that is named."""
    emulator = Emulator.of(target)
    cpu = parts.netloc or parts.path.strip("/")
    if cpu:
        emulator = emulator.with_cpu(cpu)
    return Emulated(f"{ROOT}-{target.arch}", emulator)
