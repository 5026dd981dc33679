"""QEMU's boards without an operating system: programs reach files of this machine by semihosting."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesmith.device.device import Device, finished
from edgesmith.errors import TargetError
from edgesmith.target import Board, Target, board_of

__all__ = ["EmulatedBoard"]

COMMAND = "qemu-system-arm"
SPACE = "\x1f"
"""Stands for a space in an argument; ``es_board.c`` turns it back."""
LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class EmulatedBoard(Device):
    """A board that QEMU emulates.

    Args:
        qemu: the emulator's path.
        options: further ones of it, such as a plugin.
    """

    qemu: str
    board: Board
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target) -> EmulatedBoard:
        """The board with a target's processor.

        Raises:
            TargetError: QEMU is not installed, or has no such board.
        """
        board = board_of(target)
        if board is None:
            raise TargetError(
                f"QEMU has no board with a {target.cpu or 'processor that is not named'}", where=str(target)
            )
        qemu = shutil.which(COMMAND)
        if qemu is None:
            raise TargetError(f"{COMMAND} is not installed", where=str(target), hint="apt install qemu-system-arm")
        return cls(qemu, board)

    @property
    def name(self) -> str:
        return f"{Path(self.qemu).name} ({self.board.machine}, {self.board.processor})"

    def start(self, program: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        words = [program.name, *arguments]
        semihosting = ["enable=on,target=native", *(f"arg={_argument(w)}" for w in words)]
        command = [self.qemu, "-M", self.board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
        command += [*self.options, "-semihosting-config", ",".join(semihosting), "-kernel", str(program)]
        # What programs print by semihosting goes to the emulator's standard error.
        done = finished(command, self.name, program, LIMIT_SECONDS, subprocess.STDOUT)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "")


def _argument(text: str) -> str:
    return text.replace(" ", SPACE).replace(",", ",,")
