"""What a Mach-O library asks of macOS (Apple's mach-o/loader.h)."""

from __future__ import annotations

import struct
from pathlib import Path

from edgesmith.errors import ArtifactError

__all__ = ["oldest_macos"]

MAGIC_64 = 0xFEEDFACF
HEADER_BYTES = 32
VERSION_MIN_MACOSX, BUILD_VERSION = 0x24, 0x32


def oldest_macos(library: Path) -> tuple[int, int]:
    """The version (major, minor) that a library was linked for.

    Raises:
        ArtifactError: the file is no 64-bit Mach-O file, is damaged, or does not say.
    """
    try:
        data = library.read_bytes()
        magic, _, _, _, count = struct.unpack_from("<IIIII", data)
        if magic != MAGIC_64:
            raise ValueError("wrong magic bytes")
        at = HEADER_BYTES
        for _ in range(count):
            command, size, first, second = struct.unpack_from("<IIII", data, at)
            if command in (VERSION_MIN_MACOSX, BUILD_VERSION):
                version = second if command == BUILD_VERSION else first
                return version >> 16, version >> 8 & 0xFF
            at += size
        raise ValueError("no version of macOS")
    except (struct.error, ValueError) as error:
        raise ArtifactError(f"is no library for macOS: {error}", where=str(library)) from error
