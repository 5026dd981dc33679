"""C compilers as command lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from edgesmith import knobs
from edgesmith.errors import CompilerFailed
from edgesmith.target import Target, parse

__all__ = ["Compiler", "processor_options", "system", "zig"]

OLDEST_MACOS = "11.0"
"""The first for its AArch64 processors."""
FLAGS = (
    "-std=gnu99",
    "-O3",
    "-g0",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
)
BARE_FLAGS = (
    *("-ffreestanding", "-fno-pic", "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables"),
    "-fomit-frame-pointer",
)
"""For programs without a system, which leave out every function and table that nobody calls for."""
ZIG_NAMES = {"fp16": "fullfp16"}
"""Features that Zig calls otherwise than GCC and Clang."""


@dataclass(frozen=True)
class Compiler:
    """A compiler driver and the archiver that goes with it.

    Args:
        name, version: for messages and the manifest.
        cc, ar: command prefixes.
        environment: variables set for every call.
        scratch: variable that names a folder for what no other call needs; empty: it leaves nothing.
        takes_triple: whether it compiles for the triple that it is told (others compile for this machine's).
        own_headers: whether it reads no headers of the system, so that what it makes of a file depends on the file, the
            options and the compiler alone.
    """

    name: str
    cc: tuple[str, ...]
    ar: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)
    scratch: str = ""
    takes_triple: bool = False
    own_headers: bool = False

    @property
    def identity(self) -> str:
        """Differs between compilers that may make something else of the same file."""
        driver = shutil.which(self.cc[0])
        changed = os.stat(driver).st_mtime_ns if driver else 0
        return repr((self.cc, self.version, changed))

    def flags(self, target: Target) -> list[str]:
        """What makes it compile for a target.

        Raises:
            CompilerFailed: it compiles for another machine.
        """
        return [*self.link_flags(target), *self.processor_flags(target), *_system_flags(target)]

    def link_flags(self, target: Target) -> list[str]:
        """The target's system: what it links for, whatever the processor.

        The bundled C libraries are compiled for each processor that is named, so linking names none.
        """
        if self.takes_triple:
            return ["-target", _zig_triple(target)]
        here = parse("native")
        if target.triple != here.triple:
            raise CompilerFailed(
                f"compiles for {here.triple}, the target is {target.triple}",
                where=self.name,
                hint="omit the option to use the bundled compiler",
            )
        return []

    def processor_flags(self, target: Target) -> list[str]:
        """The target's processor, for compiling and, where no system comes with a library for it, for linking."""
        if self.takes_triple and target.arch != "x86_64" and (target.features or target.cpu):
            features = (ZIG_NAMES.get(f, f) for f in target.features)
            return ["-mcpu=" + "+".join((target.cpu.replace("-", "_") or "baseline", *features))]
        return list(processor_options(target))

    def run(self, arguments: Sequence[str], *, cwd: Path, archive: bool = False) -> str:
        """Run the driver and return what it printed; raises ``CompilerFailed`` with its messages."""
        command = [*(self.ar if archive else self.cc), *arguments]
        try:
            with self._environment(cwd) as environment:
                done = subprocess.run(
                    command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace"
                )
        except OSError as error:
            raise CompilerFailed(f"cannot start {command[0]}: {error}", where=self.name) from error
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[:40])
            raise CompilerFailed(f"{' '.join(arguments)}\n{tail}", where=f"{self.name}, exit status {done.returncode}")
        return done.stderr

    @contextmanager
    def _environment(self, cwd: Path) -> Iterator[dict[str, str]]:
        common = {**os.environ, **self.environment}
        if not self.scratch:
            yield common
            return
        with tempfile.TemporaryDirectory(prefix=".scratch.", dir=cwd.absolute()) as folder:
            yield {**common, self.scratch: folder}


def processor_options(target: Target) -> tuple[str, ...]:
    """What GCC and Clang are told of a target's processor and of its instruction sets."""
    march = target.isa.march if target.isa else ""
    if target.cpu and (target.arch in ("aarch64", "arm") or not march):
        more = "".join(f"+{f}" for f in target.features) if target.arch == "aarch64" else ""
        words = [f"-mcpu={target.cpu}{more}"]
    elif march:
        words = [f"-march={march}"]
    else:
        words = [f"-m{f.replace('_', '-')}" for f in target.features]
    return (*words, *(target.isa.options if target.isa else ()))


def _system_flags(target: Target) -> list[str]:
    """What compiling for a system needs beside its name."""
    if target.system.name == "windows":
        return ["-s"]  # else objects hold the name of a temporary file
    if (target.system.name, target.arch) == ("android", "aarch64"):
        return ["-ffixed-x18"]  # where Android's libraries store return addresses
    return []


def _zig_triple(target: Target) -> str:
    """The triple with the oldest C library, or the oldest macOS, that programs run with."""
    if target.system.name == "android":
        # For its 64-bit processors musl's headers serve: bionic's functions take the same there (linking.py).
        return f"{target.arch}-linux-musl"
    if target.system.name == "macos":
        return f"{target.triple}.{OLDEST_MACOS}"
    oldest = "2.27" if target.arch == "riscv64" else "2.17"
    return f"{target.triple}.{oldest}" if "-linux-gnu" in target.triple else target.triple


def zig() -> Compiler:
    """Clang from the ``ziglang`` package: the same compiler on every machine, with a C library for every target.

    It keeps the libraries of a target in the cache. Objects it would keep by the path of their source, which is another
    one in every build, so they go with the call.
    """
    package = resources.files("ziglang")
    driver = str(package / ("zig.exe" if os.name == "nt" else "zig"))
    return Compiler(
        "zig cc",
        (driver, "cc"),
        (driver, "ar"),
        version("ziglang"),
        {"ZIG_GLOBAL_CACHE_DIR": str(knobs.CACHE_DIR() / "zig")},
        scratch="ZIG_LOCAL_CACHE_DIR",
        takes_triple=True,
        own_headers=True,
    )


def system(command: str) -> Compiler:
    """A compiler on the PATH, such as ``gcc`` or ``clang``."""
    if shutil.which(command) is None:
        raise CompilerFailed(f"{command} is not installed", hint="omit the option to use the bundled compiler")
    done = subprocess.run([command, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True)
    return Compiler(command, (command,), ("ar",), done.stdout.strip())
