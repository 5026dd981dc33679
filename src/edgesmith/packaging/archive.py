"""Zip archives whose bytes depend on their content alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgesmith.atomic import replacing_file

__all__ = ["write_archive"]

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that the format knows, for every entry."""
PLAIN, EXECUTABLE = 0o100644, 0o100755


def write_archive(path: Path, files: Mapping[str, bytes], *, stored: frozenset[str] = frozenset()) -> None:
    """Replace ``path`` by an archive of files in the given order.

    Args:
        files: content by name.
        stored: names that are not compressed. Names that end in ``.so`` may be executed.
    """
    with replacing_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # permissions are those of Unix
            entry.external_attr = (EXECUTABLE if name.endswith(".so") else PLAIN) << 16
            entry.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
