"""Executed instructions of a microcontroller's program, on a board that QEMU emulates."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from edgesmith import knobs
from edgesmith.counting.counts import Counts, StepCounts
from edgesmith.counting.plugin import plugin
from edgesmith.device import Artifact
from edgesmith.device.board import EmulatedBoard
from edgesmith.errors import ArtifactError, DeviceError

__all__ = ["board_instructions", "count_on_board"]

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
    return _executed(board, artifact, "--repeat", 2) - _executed(board, artifact, "--repeat", 1)


def count_on_board(artifact: Artifact) -> StepCounts:
    """Instructions of one inference and of each step: those of its first steps with it, less those without it.

    Raises: as ``board_instructions``.
    """
    board = EmulatedBoard.of(artifact.target)
    steps = tuple(artifact.manifest["steps"])
    with ThreadPoolExecutor(knobs.JOBS()) as pool:
        reached = list(pool.map(lambda n: _executed(board, artifact, "--first", n), range(len(steps) + 1)))
    each = tuple(after - before for before, after in pairwise(reached))
    return StepCounts(steps, board_instructions(artifact), each, "instructions", board.name)


def _executed(board: EmulatedBoard, artifact: Artifact, option: str, number: int) -> int:
    with tempfile.TemporaryDirectory(prefix="edgesmith-count-") as folder:
        out = Path(folder) / "counts"
        counted = replace(board, options=("-plugin", f"{plugin()},out={out},mark={NO_MARKS}"))
        done = counted.start(artifact.executable.absolute(), [option, str(number)])
        if done.returncode:
            raise ArtifactError(f"exit status {done.returncode} on {board.name}", where=str(artifact.executable))
        try:
            return Counts.parse(out.read_text()).instructions(0)
        except (OSError, ValueError) as error:
            raise DeviceError(f"the plugin counted nothing: {error}", where=board.qemu) from error
