"""QEMU's user mode: this machine runs programs of another architecture."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from edgesmith.device.artifact import Artifact
from edgesmith.device.board import EmulatedBoard
from edgesmith.device.device import Device, finished
from edgesmith.device.session import RUN_SECONDS, Session, arguments
from edgesmith.device.wasm import Wasmtime
from edgesmith.errors import BadInput, TargetError
from edgesmith.target import Target, refused, runs_here
from edgesmith.target.system import WASM

__all__ = ["Emulator", "emulated", "runnable", "runnable_variant"]

LIBC_PACKAGES = {
    "aarch64-linux-gnu": "libc6-arm64-cross",
    "arm-linux-gnueabihf": "libc6-armhf-cross",
    "riscv64-linux-gnu": "libc6-riscv64-cross",
}
"""Debian's packages of C libraries, by triple."""


@dataclass(frozen=True)
class Emulator(Device):
    """A processor that QEMU emulates.

    Args:
        qemu: the emulator's path.
        cpu: the processor.
        root: folder of the C library of programs that do not bring theirs; None: they do.
    """

    qemu: str
    cpu: str
    root: Path | None

    @classmethod
    def of(cls, target: Target) -> Emulator:
        """The emulator of a processor that has what a target needs, and nothing beyond it where there is such a one.

        Raises:
            TargetError: it is not installed, or there is none.
        """
        if target.system.name not in ("linux", "android"):
            raise TargetError(f"no emulator of {target.system.name}", where=str(target), hint="run the self-test there")
        if target.isa and not target.isa.emulator_cpu:
            hint = "run the self-test on a machine that has them"
            raise TargetError("QEMU emulates no processor with these instructions", where=str(target), hint=hint)
        command = f"qemu-{target.arch}"
        qemu = shutil.which(command)
        if qemu is None:
            raise TargetError(f"{command} is not installed", where=str(target), hint="apt install qemu-user")
        root = None if target.is_static else Path("/usr") / target.triple
        if root is not None and not root.is_dir():
            package = LIBC_PACKAGES.get(target.triple)
            raise TargetError(
                f"{root} is missing: the C library of programs for {target.triple}",
                where=str(target),
                hint=f"apt install {package}" if package else "Compile for the musl C library, which programs bring.",
            )
        known = _cpus(qemu)
        plain = "max" if "max" in known else "any"
        cpu = target.cpu if target.cpu in known else target.isa.emulator_cpu if target.isa else plain
        return cls(qemu, cpu, root)

    def with_cpu(self, cpu: str) -> Emulator:
        """It with another processor; raises ``BadInput`` when QEMU does not know that."""
        if cpu not in _cpus(self.qemu):
            raise BadInput(
                f"{Path(self.qemu).name} emulates no {cpu!r}",
                where=f"qemu:{cpu}",
                hint=f"{self.qemu} -cpu help lists what it emulates",
            )
        return replace(self, cpu=cpu)

    @property
    def name(self) -> str:
        return f"{Path(self.qemu).name} ({self.cpu})"

    @property
    def command(self) -> list[str]:
        """What starts a program: the words before its path."""
        return [self.qemu, "-cpu", self.cpu, *([] if self.root is None else ["-L", str(self.root)])]

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        program = [*self.command, str(artifact.executable.absolute())]
        return Session.start([*program, *arguments(artifact, threads)], self.name, artifact)

    def start(self, program: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return finished([*self.command, str(program), *arguments], self.name, program, RUN_SECONDS)


def emulated(target: Target) -> Device:
    """The emulator of a target's processor, of a board with it where programs run without a system, or the engine.

    Raises:
        TargetError: it is not installed, or there is none.
    """
    if target.system.object_format == WASM:
        return Wasmtime.of(target)
    return EmulatedBoard.of(target) if target.is_bare else Emulator.of(target)


def runnable(target: Target) -> bool:
    """Whether this machine runs a target's programs, by itself or by an emulator."""
    if runs_here(target):
        return True
    try:
        emulated(target)
    except TargetError:
        return False
    return True


def runnable_variant(target: Target) -> bool:
    """The same of one variant among several: it is not replaced by what it contains where the system refuses a set."""
    return runnable(target) and not refused(target)


@cache
def _cpus(qemu: str) -> frozenset[str]:
    """Names of the processors that it knows."""
    return frozenset(subprocess.run([qemu, "-cpu", "help"], capture_output=True, text=True).stdout.split())
