"""The difference between two artifacts: what stayed is named, what changed is packed with the old file as dictionary.

The packed parts are Zstandard frames (RFC 8878), as ``zstd --patch-from`` makes them, in a ZIP file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgesmith.atomic import replacing_file
from edgesmith.device.artifact import MANIFEST, load, sha256
from edgesmith.device.folder import replacing
from edgesmith.errors import ArtifactError, MissingDependency

__all__ = ["apply_delta", "make_delta"]

FORMAT = 1
HEADER = "delta.json"
LEVEL = 19
SMALLEST_WINDOW, LARGEST_WINDOW = 10, 31
EXPANSION = 1024
"""Most bytes of a new artifact, beside as many as the old one has, for each byte of a delta."""
LARGEST_HEADER = 16 << 20
"""Some 60 thousand files."""


def make_delta(old: Path, new: Path, output: Path) -> int:
    """Write what turns the artifact ``old`` into ``new``; gives its bytes.

    Raises:
        ArtifactError: one of them is no artifact or was changed since it was compiled.
        MissingDependency: zstandard is not installed (extra ``release``).
    """
    for artifact in (old, new):
        load(artifact).check()
    before = {sha256(old / name): name for name in reversed(_names(old))}
    entries: list[dict[str, Any]] = []
    with replacing_file(output) as file, zipfile.ZipFile(file, "w") as packed:
        for name in _names(new):
            path, digest = new / name, sha256(new / name)
            entry = {"path": name, "sha256": digest, "bytes": path.stat().st_size}
            entry["executable"] = bool(path.stat().st_mode & 0o100)
            if digest in before:
                entry["same"] = before[digest]
            else:
                base, part = old / name, f"{len(entries)}.zst"
                entry |= {"part": part} | ({"base": name} if base.is_file() else {})
                packed.writestr(part, _compress(path.read_bytes(), base.read_bytes() if base.is_file() else b""))
            entries.append(entry)
        header = {"format": FORMAT, "old": sha256(old / MANIFEST), "new": sha256(new / MANIFEST), "files": entries}
        # What compresses better than ``EXPANSION`` allows is made up for.
        made = sum(int(entry["bytes"]) for entry in entries) - _bytes_of(old)
        packed.writestr(HEADER, json.dumps(header, indent=1).ljust(made // EXPANSION - file.tell() + 1))
    return output.stat().st_size


def apply_delta(old: Path, delta: Path, output: Path, accept: Callable[[Path], object] | None = None) -> None:
    """Write the artifact that a delta makes of ``old``; every file is checked before the folder appears.

    Args:
        output: a folder that does not exist or holds an artifact; ``old`` itself is fine.
        accept: called with the new artifact before it takes its place; raises what speaks against it.

    Raises:
        ArtifactError: the delta is damaged or is for another artifact, ``old`` was changed, or ``accept`` says so.
        MissingDependency: zstandard is not installed (extra ``release``).
    """
    _zstandard()
    load(old).check()
    with delta.open("rb") as file, replacing(output) as folder:
        with _damage(delta), zipfile.ZipFile(file) as packed:
            size = delta.stat().st_size
            header = json.loads(_stored(packed, HEADER, min(LARGEST_HEADER, size)))
            _check_header(header, old, delta)
            for entry in _entries(header, old, size):
                path = folder / entry.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(entry.content(old, packed, size))
                path.chmod(0o755 if entry.executable else 0o644)
        try:
            if sha256(folder / MANIFEST) != header["new"]:
                raise ArtifactError("the manifest comes out wrong")
            load(folder).check()
            if accept:
                accept(folder)
        except ArtifactError as error:
            name = error.where.removeprefix(str(folder)).strip("/")
            why = f"{name}: {error.why}" if name else error.why
            raise ArtifactError(f"the new artifact is refused: {why}", where=str(delta), hint=_AGAIN) from error


_AGAIN = "get the delta again, from who made it; nothing was changed here"


@contextmanager
def _damage(delta: Path) -> Iterator[None]:
    """What reading hostile bytes raises becomes ``ArtifactError``."""
    try:
        yield
    # RuntimeError: what zipfile cannot read, and JSON that is nested too deeply.
    except (zipfile.BadZipFile, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, EOFError) as error:
        raise ArtifactError(f"the delta is damaged: {error}", where=str(delta), hint=_AGAIN) from error
    except MemoryError as error:
        raise ArtifactError("the delta needs more memory than there is", where=str(delta), hint=_AGAIN) from error


def _stored(packed: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """A part that lies in the file as it is; raises ``ValueError`` where it does not, or claims too much."""
    part = packed.getinfo(name)
    if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
        raise ValueError(f"{name} is not stored as it is")
    if part.file_size > most_bytes:
        raise ValueError(f"{name} of {part.file_size} bytes")
    try:
        return packed.read(part)
    except OSError as error:  # of an offset that no file has
        raise ValueError(f"{name}: {error.strerror}") from error


def _check_header(header: Any, old: Path, delta: Path) -> None:
    if header["format"] != FORMAT:
        raise ArtifactError(f"delta format {header['format']}, this Edgesmith reads {FORMAT}", where=str(delta))
    if header["old"] != sha256(old / MANIFEST):
        raise ArtifactError(
            f"the delta is for another artifact than {old}", where=str(delta), hint="make it from the one that is there"
        )


@dataclass(frozen=True)
class _Entry:
    """A file of the new artifact.

    Args:
        same: the old file with this content; None: ``part`` is unpacked.
        base: the old file that is its dictionary; None: it has none.
    """

    path: str
    sha256: str
    nbytes: int
    executable: bool
    same: str | None
    part: str | None
    base: str | None

    @classmethod
    def read(cls, entry: Any, there: Set[str]) -> _Entry:
        """An entry of the header; raises ``ValueError``, ``KeyError`` or ``TypeError``.

        Args:
            there: the files of the old artifact.
        """
        path, nbytes = str(entry["path"]), int(entry["bytes"])
        if nbytes < 0:
            raise ValueError(f"{path} of {nbytes} bytes")
        same, base = entry.get("same"), entry.get("base")
        for name in (same, base):
            if name is not None and name not in there:
                raise ValueError(f"the old artifact has no file {name!r}")
        return cls(_inside(path), entry["sha256"], nbytes, bool(entry["executable"]), same, entry.get("part"), base)

    def content(self, old: Path, packed: zipfile.ZipFile, most_bytes: int) -> bytes:
        """Raises ``ValueError`` or ``KeyError`` where it is not what the entry says."""
        if self.same is not None:
            data = (old / self.same).read_bytes()
        else:
            base = (old / self.base).read_bytes() if self.base is not None else b""
            data = _decompress(_stored(packed, str(self.part), most_bytes), base, self.nbytes)
        if len(data) != self.nbytes or hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.path} comes out wrong")
        return data


def _entries(header: Any, old: Path, delta_bytes: int) -> list[_Entry]:
    """The files that a header names; raises as ``_Entry.read`` does."""
    there = frozenset(_names(old))
    entries = [_Entry.read(entry, there) for entry in header["files"]]
    if len({entry.path for entry in entries}) < len(entries):
        raise ValueError("a file is named twice")
    whole = sum(entry.nbytes for entry in entries)
    if whole > _bytes_of(old) + EXPANSION * delta_bytes:
        raise ValueError(f"{delta_bytes} bytes that claim to make {whole}")
    return entries


def _bytes_of(artifact: Path) -> int:
    return sum((artifact / name).stat().st_size for name in _names(artifact))


def _inside(name: str) -> str:
    """A relative path that stays in its folder; raises ``ValueError`` for any other."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or not name.isprintable():
        raise ValueError(f"path {name!r}")
    return str(path)


def _names(artifact: Path) -> list[str]:
    return sorted(p.relative_to(artifact).as_posix() for p in artifact.rglob("*") if p.is_file())


def _compress(data: bytes, base: bytes) -> bytes:
    zstd = _zstandard()
    window = min(max((len(data) + len(base)).bit_length(), SMALLEST_WINDOW), LARGEST_WINDOW)
    parameters = zstd.ZstdCompressionParameters.from_level(
        LEVEL, window_log=window, enable_ldm=True, write_checksum=1, write_content_size=1
    )
    dictionary = zstd.ZstdCompressionDict(base, dict_type=zstd.DICT_TYPE_RAWCONTENT) if base else None
    return bytes(zstd.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(data))


def _decompress(data: bytes, base: bytes, nbytes: int) -> bytes:
    """Raises ``ValueError`` where the frame is damaged or gives another number of bytes."""
    zstd = _zstandard()
    dictionary = zstd.ZstdCompressionDict(base, dict_type=zstd.DICT_TYPE_RAWCONTENT) if base else None
    try:
        if zstd.get_frame_parameters(data).content_size != nbytes:
            raise ValueError("a part has another size than its entry says")
        tool = zstd.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << LARGEST_WINDOW)
        return bytes(tool.decompress(data, max_output_size=nbytes))
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependency("deltas need the package zstandard", hint="pip install 'edgesmith[release]'") from error
    return zstandard
