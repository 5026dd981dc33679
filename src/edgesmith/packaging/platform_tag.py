"""On which systems Python may install a wheel: the platform tag of a library."""

from __future__ import annotations

from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError
from edgesmith.packaging.elf import ElfLibrary
from edgesmith.packaging.mach_o import oldest_macos
from edgesmith.target import Target

__all__ = ["no_platform", "platform_tag"]

OLDEST_GLIBC = (2, 17)
"""Of the names that installers know for every architecture (PEP 600)."""
MUSL = "1_2"
"""The version that the bundled compiler links for (PEP 656)."""
MACOS = {"aarch64": "arm64", "x86_64": "x86_64"}
"""Architectures in the words of Apple's tools; from version 11 on, the minor version is 0."""
WINDOWS = {"aarch64": "win_arm64", "x86_64": "win_amd64"}
LINUX_ARCHS = {"arm": "armv7l"}
_PERMITTED = frozenset(
    f"{name}.so.{number}" for name, number in (("libc", 6), ("libm", 6), ("libpthread", 0), ("libdl", 2), ("librt", 1))
)
"""Libraries that every glibc system has (PEP 513, the policy's list); the loader is another."""


def no_platform(target: Target, several: bool) -> tuple[str, str] | None:
    """Why there is no wheel for a target; see ``Form.refusal``."""
    archs = {"windows": WINDOWS, "macos": MACOS, "linux": {target.arch: ""}}
    if target.arch in archs.get(target.system.name, {}):
        return None
    return f"there is no Python for {target.triple}", "compile for Linux, macOS or Windows"


def platform_tag(artifact: Artifact) -> str:
    """The tag of the systems that can load an artifact's shared library.

    Raises:
        ArtifactError: the library needs others that not every system has.
    """
    target = artifact.target
    system, where = target.system.name, str(artifact.library)
    if system == "windows":
        return WINDOWS[target.arch]
    if system == "macos":
        major, minor = oldest_macos(artifact.library)
        return f"macosx_{major}_{minor if major < 11 else 0}_{MACOS[target.arch]}"
    arch = LINUX_ARCHS.get(target.arch, target.arch)
    library = ElfLibrary.read(artifact.library)
    if "-musl" in target.triple:
        return f"musllinux_{MUSL}_{arch}"
    foreign = [name for name in library.needed if name not in _PERMITTED and not name.startswith("ld-linux")]
    if foreign:
        raise ArtifactError(
            f"needs {', '.join(foreign)}, which not every Linux has",
            where=where,
            hint="omit --compiler to use the bundled compiler",
        )
    major, minor = max(library.glibc or OLDEST_GLIBC, OLDEST_GLIBC)
    return f"manylinux_{major}_{minor}_{arch}"
