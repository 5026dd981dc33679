"""A Debian for 64-bit ARM without its kernel: Python and the runtimes that are compared, for QEMU's user mode.

Nothing of this machine's own package state is touched: apt runs with a state of its own, archives are unpacked, wheels
for the other architecture are installed into a folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Arm64Root"]

PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgomp1", "zlib1g")
PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in (17, 24, 26, 27, 28, 31, 34, 35)))
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3
"""
CPUS = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
"""For each processor that QEMU emulates: part number and features, as /proc/cpuinfo shows them."""


class Arm64Root:
    """The folder of the system and of the runtimes.

    Args:
        folder: where both are made when they are first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, cpu: str) -> list[str]:
        """What starts the emulator: a program that it runs sees the system, and a processor of that name."""
        qemu = shutil.which("qemu-aarch64")
        if qemu is None:
            raise SystemExit("qemu-aarch64 is not installed: apt install qemu-user")
        return [qemu, "-cpu", cpu, "-L", str(self._seen_by(cpu))]

    def python(self, cpu: str) -> str:
        return str(self._seen_by(cpu) / "usr/bin/python3.11")

    def site(self, name: str, requirements: Sequence[str]) -> Path:
        """The folder with some Python packages for 64-bit ARM."""
        site = self._folder / name
        if not site.is_dir():
            part = self._folder / f".{name}"
            shutil.rmtree(part, ignore_errors=True)
            only = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3"]
            only += ["--abi=none", *(f"--platform={p}" for p in PLATFORMS)]
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part), *only, *requirements]
            subprocess.run(command, check=True)
            part.rename(site)
        return site

    def _seen_by(self, cpu: str) -> Path:
        """The system as a program on a processor sees it: runtimes read /proc/cpuinfo and trust it."""
        place = self._folder / f"root-{cpu}"
        if not place.is_dir():
            whole = self._system()
            part = self._folder / f".root-{cpu}"
            shutil.rmtree(part, ignore_errors=True)
            (part / "proc").mkdir(parents=True)
            part_number, features = CPUS[cpu]
            (part / "proc/cpuinfo").write_text(CPUINFO.format(part=part_number, features=features))
            for entry in whole.iterdir():
                (part / entry.name).symlink_to(entry)
            part.rename(place)
        return place

    def _system(self) -> Path:
        root = self._folder / "root"
        if not root.is_dir():
            part, state = self._folder / ".root", self._folder / "apt"
            for folder in (part, *(state / n for n in ("lists/partial", "archives/partial", "empty"))):
                folder.mkdir(parents=True, exist_ok=True)
            (state / "status").touch()
            options = [
                "APT::Architecture=arm64",
                "APT::Architectures::=arm64",
                f"Dir::State={state}",
                f"Dir::State::status={state}/status",
                f"Dir::State::lists={state}/lists",
                f"Dir::Cache={state}",
                f"Dir::Cache::archives={state}/archives",
                "APT::Install-Recommends=false",
                "APT::Sandbox::User=root",
            ]
            apt = ["apt-get", "-qq", *(word for o in options for word in ("-o", o))]
            subprocess.run([*apt, "update"], check=True)
            subprocess.run([*apt, "install", "--download-only", "--yes", *PACKAGES], check=True)
            for archive in sorted((state / "archives").glob("*.deb")):
                subprocess.run(["dpkg", "-x", str(archive), str(part)], check=True)
            part.rename(root)
            shutil.rmtree(state)
        return root
