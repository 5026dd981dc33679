"""Executed blocks of one inference and of each step of a compiled model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from edgesmith.counting.counts import Block, Counts
from edgesmith.counting.plugin import Caches, count
from edgesmith.device import Artifact, Emulator
from edgesmith.errors import ArtifactError, TargetError
from edgesmith.target import runs_here
from edgesmith.toolchain.compiler import FLAGS, Compiler, zig

__all__ = ["Inference", "count_inference"]

DRIVER = "driver.c"
SELFTEST = "es_selftest.c"
WHOLE, FIRST_STEP = 1, 2
"""Regions that the driver marks."""


@dataclass(frozen=True)
class Inference:
    """One inference of a model on one thread.

    Args:
        steps: the manifest's entries.
        counts: in the regions of the driver.
        arch: of its code.
        emulator: what ran it.
    """

    steps: tuple[Mapping[str, Any], ...]
    counts: Counts
    arch: str
    emulator: str

    unit: ClassVar[str] = "instructions"

    @property
    def instructions(self) -> int:
        """Of a whole run."""
        return self.counts.instructions(WHOLE)

    @property
    def blocks(self) -> dict[Block, int]:
        """Of a whole run, with how often each was executed."""
        return self.counts.of(WHOLE)

    def step_instructions(self, index: int) -> int:
        """Of one step, run by itself: with the call that starts it, some hundred instructions."""
        return self.counts.instructions(FIRST_STEP + index)

    def step_blocks(self, index: int) -> dict[Block, int]:
        return self.counts.of(FIRST_STEP + index)


def count_inference(artifact: Artifact, compiler: Compiler | None = None, caches: Caches | None = None) -> Inference:
    """Run a model under QEMU and count.

    The counts are the same in every run. A small program with marks around each step is linked with the artifact's
    library; the artifact stays as it is.

    Args:
        compiler: of the marks (default: the bundled one).
        caches: count what they miss, too.

    Raises:
        TargetError: the program is for this machine; or QEMU is not installed, or emulates no such processor.
        DeviceError: QEMU takes no plugins.
        ArtifactError: the artifact has no static library or no sources, or its program fails.
    """
    target = artifact.target
    if runs_here(target):
        hint = "Measure its time instead: edgesmith profile, without --count."
        raise TargetError("the program is for this machine; QEMU counts those of others", where=str(target), hint=hint)
    emulator = Emulator.of(target)
    archive, source = (artifact.path / f"lib{artifact.name}.a").absolute(), artifact.path / "src"
    needed = [archive, *(source / file for file in (SELFTEST, "model.h"))]
    for path in needed:
        if not path.is_file():
            raise ArtifactError("missing; counting links with it", where=str(path), hint="compile the model again")
    tool = compiler or zig()
    with tempfile.TemporaryDirectory(prefix="edgesmith-count-") as temporary:
        folder = Path(temporary)
        for path in (*source.glob("*.h"), source / SELFTEST):
            shutil.copy(path, folder)
        (folder / DRIVER).write_text((resources.files("edgesmith.counting") / DRIVER).read_text())
        flags = [*tool.flags(target), *FLAGS, "-std=gnu11"]
        for file in (DRIVER, SELFTEST):
            tool.run([*flags, "-c", file, "-o", f"{file}.o"], cwd=folder)
        objects = [f"{DRIVER}.o", f"{SELFTEST}.o", str(archive)]
        tool.run([*tool.link_flags(target), "-O3", *objects, "-o", "driver", "-lm", "-pthread"], cwd=folder)
        counts, _ = count(emulator.command, [str(folder / "driver")], target.arch, caches)
    return Inference(tuple(artifact.manifest["steps"]), counts, target.arch, emulator.name)
