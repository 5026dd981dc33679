"""Objects of earlier builds, in the cache by what they were made of."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgesmith import knobs
from edgesmith.atomic import write_file
from edgesmith.eviction import evict
from edgesmith.toolchain.compiler import Compiler

__all__ = ["INCLUDED", "KeptObjects", "may_keep"]

FOLDER = "objects"
ENVIRONMENT = ("CPATH", "C_INCLUDE_PATH", "CCC_OVERRIDE_OPTIONS")
"""Variables by which the bundled compiler reads other files or options than it is told."""

_NAMES_NO_FILE = re.compile(r"-[DOUWfgm][^/@]*")
INCLUDED = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
"""Names of files that a file includes from its folder."""
_DIGEST_BYTES = 32


def may_keep(compiler: Compiler, extra: Sequence[str]) -> bool:
    """Whether objects may be kept: where they depend on nothing but the files, the options and the compiler.

    They are not where the cache is to have no size (``EDGESMITH_CACHE_MB=0``).

    Args:
        extra: the options that are not Edgesmith's own.
    """
    if not compiler.own_headers or not knobs.CACHE_MB() or any(map(os.environ.get, ENVIRONMENT)):
        return False
    return all(map(_NAMES_NO_FILE.fullmatch, extra))


class KeptObjects:
    """The part of the cache that holds objects: a file for each, its name the key, its content a digest and the object.

    Several processes may use it at once. A cache that cannot be read or written is no error.
    """

    def __init__(self, compiler: Compiler) -> None:
        self._root = knobs.CACHE_DIR() / FOLDER
        self._compiler = compiler.identity.encode()
        self._digests: dict[Path, bytes] = {}
        self._added = ""

    def key(self, folder: Path, file: Path, options: Sequence[str]) -> str | None:
        """The digest of all that an object is made of; None where that includes what the compiler alone finds.

        Args:
            folder: where the compiler runs.
            file: the C file, in it.
        """
        sha = hashlib.sha256(self._compiler + repr([str(file.relative_to(folder)), *options]).encode())
        for path in _read(file):
            if path not in self._digests:
                data = path.read_bytes()
                if b".incbin" in data:
                    return None
                self._digests[path] = hashlib.sha256(data).digest()
            sha.update(str(path.relative_to(folder)).encode() + b"\0" + self._digests[path])
        return sha.hexdigest()

    def find(self, key: str, into: Path) -> bool:
        """Write the object ``key`` to ``into``; False when there is none. A damaged one is removed."""
        entry = self._root / key
        with contextlib.suppress(OSError):
            data = entry.read_bytes()
            if hashlib.sha256(data[_DIGEST_BYTES:]).digest() == data[:_DIGEST_BYTES]:
                os.utime(entry)
                into.write_bytes(data[_DIGEST_BYTES:])
                return True
            entry.unlink()
        return False

    def insert(self, key: str, made: Path) -> None:
        """Keep a copy of an object."""
        data = made.read_bytes()
        with contextlib.suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
            write_file(self._root / key, hashlib.sha256(data).digest() + data)
            self._added = key

    def evict(self) -> None:
        """Let those go that were used longest ago, beyond ``EDGESMITH_CACHE_MB``, where one was added."""
        if self._added:
            with contextlib.suppress(OSError):
                evict(self._root, self._added)


def _read(file: Path) -> Iterator[Path]:
    """A C file and all files that it includes from its folder, and they from theirs."""
    seen, pending = {file}, [file]
    while pending:
        path = pending.pop()
        yield path
        for name in INCLUDED.findall(path.read_bytes()):
            other = Path(os.path.normpath(path.parent / name.decode(errors="replace")))
            if other not in seen and other.is_file():
                seen.add(other)
                pending.append(other)
