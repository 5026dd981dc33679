"""Counting what a program executes: a plugin of QEMU, compiled when it is first needed."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from edgesmith import knobs
from edgesmith.atomic import write_file
from edgesmith.counting.counts import Counts
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.target import parse
from edgesmith.toolchain.compiler import zig

__all__ = ["CLOSE", "Caches", "count", "plugin"]

CLOSE = {"aarch64": 57, "riscv64": 57, "arm": 6, "x86_64": 3}
"""Number of the system call ``close`` on Linux, by architecture."""
SOURCE = "plugin.c"
LAST_LINES = 5


@dataclass(frozen=True)
class Caches:
    """Data caches of a core that replace the line used longest ago.

    Args:
        l1_bytes, l2_bytes: powers of two times the ways.
    """

    l1_bytes: int
    l2_bytes: int
    l1_ways: int = 4
    l2_ways: int = 16

    @property
    def options(self) -> str:
        """For the plugin."""
        return f",l1={self.l1_bytes}:{self.l1_ways},l2={self.l2_bytes}:{self.l2_ways}"


def count(
    command: Sequence[str],
    program: Sequence[str],
    arch: str,
    caches: Caches | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> tuple[Counts, str]:
    """Run a program under QEMU's user mode and count what it executes.

    Args:
        command: starts the emulator: its path and options.
        program: the program and its arguments.
        arch: of the program.
        caches: count what they miss, too.
        environment: of the emulator (default: this process's).

    Returns:
        The counts, and what the program printed.

    Raises:
        DeviceError: this build of QEMU takes no plugins.
        ArtifactError: the program failed.
        subprocess.TimeoutExpired: it took longer than ``timeout_s``.
    """
    _check_support(command[0])
    with tempfile.TemporaryDirectory(prefix="edgesmith-count-") as folder:
        out = Path(folder) / "counts"
        option = f"{plugin()},out={out},mark={CLOSE[arch]}{caches.options if caches else ''}"
        words = [command[0], "-plugin", option, *command[1:], *program]
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", env=environment, timeout=timeout_s
        )
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
            raise ArtifactError(f"exit status {done.returncode} under {command[0]}\n{said}".strip(), where=program[0])
        try:
            return Counts.parse(out.read_text()), done.stdout
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"the plugin counted nothing: {error}", where=command[0], hint="Is the temporary folder full?"
            ) from error


@cache
def plugin() -> Path:
    """The plugin's library, kept in the cache; compiled for this machine by the bundled compiler."""
    source = (resources.files("edgesmith.counting") / SOURCE).read_text()
    here, tool = parse("native"), zig()
    key = hashlib.sha256(f"{here.triple} {tool.version} {source}".encode()).hexdigest()[:16]
    library = knobs.CACHE_DIR() / "counting" / f"plugin-{key}.so"
    if not library.is_file():
        with tempfile.TemporaryDirectory(prefix="edgesmith-plugin-") as name:
            folder = Path(name)
            (folder / SOURCE).write_text(source)
            options = [*tool.link_flags(here), "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
            # QEMU itself has the functions that a plugin calls.
            tool.run([*options, "-Wl,-z,undefs", SOURCE, "-o", "plugin.so"], cwd=folder)
            library.parent.mkdir(parents=True, exist_ok=True)
            write_file(library, (folder / "plugin.so").read_bytes())
    return library


@cache
def _check_support(qemu: str) -> None:
    said = subprocess.run([qemu, "-h"], capture_output=True, text=True).stdout
    if "-plugin" not in said:
        raise DeviceError(
            "this build of QEMU takes no plugins (-plugin)",
            where=qemu,
            hint="Debian 12 has one: apt install qemu-user (7.2). Static builds never take any.",
        )
