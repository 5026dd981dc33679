"""Executed instructions of a microcontroller's program, on a board that QEMU emulates."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from edgesmith.counting.counts import Counts
from edgesmith.counting.plugin import plugin
from edgesmith.device import Artifact
from edgesmith.device.board import EmulatedBoard
from edgesmith.errors import ArtifactError, DeviceError

__all__ = ["board_instructions"]

NO_MARKS = -1
"""Programs without a system make no system calls."""


def board_instructions(artifact: Artifact) -> int:
    """Instructions of one inference: those of two, less those of one. The same in every run.

    Raises:
        TargetError: QEMU is not installed, or has no such board.
        DeviceError: this build of QEMU takes no plugins.
        ArtifactError: the program failed.
    """
    board = EmulatedBoard.of(artifact.target)
    return _executed(board, artifact, 2) - _executed(board, artifact, 1)


def _executed(board: EmulatedBoard, artifact: Artifact, runs: int) -> int:
    with tempfile.TemporaryDirectory(prefix="edgesmith-count-") as folder:
        out = Path(folder) / "counts"
        counted = replace(board, options=("-plugin", f"{plugin()},out={out},mark={NO_MARKS}"))
        done = counted.start(artifact.executable.absolute(), ["--repeat", str(runs)])
        if done.returncode:
            raise ArtifactError(f"exit status {done.returncode} on {board.name}", where=str(artifact.executable))
        try:
            return Counts.parse(out.read_text()).instructions(0)
        except (OSError, ValueError) as error:
            raise DeviceError(f"the plugin counted nothing: {error}", where=board.qemu) from error
