"""What a shared library asks of the system that loads it, read from its ELF file (System V ABI, chapters 4 and 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgesmith.errors import ArtifactError

__all__ = ["ElfLibrary"]

_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRTAB, _SONAME, _VERNEED, _VERNEEDNUM = 1, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True)
class ElfLibrary:
    """A shared library of a Linux-like system.

    Args:
        machine: the architecture's number (62 x86-64, 183 AArch64, 40 ARM, 243 RISC-V).
        needed: libraries that it is loaded with.
        versions: versions of symbols that it uses, such as ``GLIBC_2.17``.
        page_bytes: the largest pages with which it can be loaded.
    """

    machine: int
    needed: tuple[str, ...]
    versions: frozenset[str]
    page_bytes: int

    @classmethod
    def read(cls, path: Path) -> ElfLibrary:
        """Raises ``ArtifactError``: the file is no little-endian ELF file, or it is damaged."""
        try:
            return _Reader(path.read_bytes()).library()
        except (struct.error, IndexError, ValueError) as error:
            raise ArtifactError(f"is no ELF file: {error}", where=str(path)) from error

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The oldest glibc that has all symbols; None where it uses none of glibc's versions."""
        found = [v.removeprefix("GLIBC_").split(".") for v in self.versions if v.startswith("GLIBC_")]
        return max(((int(v[0]), int(v[1])) for v in found if v[0].isdigit()), default=None)


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] != 1:
            raise ValueError("wrong magic bytes, word size or byte order")
        self.data, self.wide = data, data[4] == 2
        word = "Q" if self.wide else "I"
        machine, _, _, at = struct.unpack_from(f"<HI{word}{word}", data, 18)
        size, count = struct.unpack_from("<HH", data, 54 if self.wide else 42)
        self.machine: int = machine
        # Type, offset in the file, virtual address, size in the file, alignment.
        layout, order = ("<IIQQQQQQ", (0, 2, 3, 5, 7)) if self.wide else ("<IIIIIIII", (0, 1, 2, 4, 7))
        headers = [struct.unpack_from(layout, data, at + i * size) for i in range(count)]
        self.segments = [tuple(h[k] for k in order) for h in headers]

    def library(self) -> ElfLibrary:
        entries = list(self._dynamic())
        tags = dict(entries)
        strings = self._offset(tags[_STRTAB]) if _STRTAB in tags else 0
        needed = tuple(self._string(strings + value) for tag, value in entries if tag == _NEEDED)
        versions: set[str] = set()
        if _VERNEED in tags:
            versions.update(self._versions(self._offset(tags[_VERNEED]), tags[_VERNEEDNUM], strings))
        pages = min((s[4] for s in self.segments if s[0] == _LOAD), default=0)
        return ElfLibrary(self.machine, needed, frozenset(versions), pages)

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        layout = "<QQ" if self.wide else "<II"
        for kind, offset, _, size, _ in self.segments:
            if kind != _DYNAMIC:
                continue
            for at in range(offset, offset + size, struct.calcsize(layout)):
                tag, value = struct.unpack_from(layout, self.data, at)
                if not tag:
                    return
                yield tag, value

    def _offset(self, address: int) -> int:
        for kind, offset, start, size, _ in self.segments:
            if kind == _LOAD and start <= address < start + size:
                return int(offset + address - start)
        raise ValueError(f"nothing lies at address {address:#x}")

    def _string(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def _versions(self, at: int, count: int, strings: int) -> Iterator[str]:
        """Names in the table of needed versions: a chain of files, each with a chain of versions."""
        for _ in range(count):
            _, entries, _, first, following = struct.unpack_from("<HHIII", self.data, at)
            entry = at + first
            for _ in range(entries):
                _, _, _, name, step = struct.unpack_from("<IHHII", self.data, entry)
                yield self._string(strings + name)
                entry += step
            at += following
