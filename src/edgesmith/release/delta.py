"""The difference between two artifacts: what stayed is named, what changed is packed with the old file as dictionary.

The packed parts are Zstandard frames (RFC 8878), as ``zstd --patch-from`` makes them, in a ZIP file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
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
        packed.writestr(HEADER, json.dumps(header, indent=1))
    return output.stat().st_size


def apply_delta(old: Path, delta: Path, output: Path, accept: Callable[[Path], object] | None = None) -> None:
    """Write the artifact that a delta makes of ``old``; every file is checked before the folder appears.

    Args:
        output: a folder that does not exist or holds an artifact; ``old`` itself is fine.
        accept: called with the new artifact before it takes its place; raises what speaks against it.

    Raises:
        ArtifactError: the delta is damaged or is for another artifact, or ``old`` was changed.
        MissingDependency: zstandard is not installed (extra ``release``).
    """
    load(old).check()
    try:
        with zipfile.ZipFile(delta) as packed:
            header = json.loads(packed.read(HEADER))
            _check_header(header, old, delta)
            with replacing(output) as folder:
                for entry in header["files"]:
                    data = _content(entry, old, packed)
                    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                        raise ArtifactError(f"{entry['path']} comes out wrong", where=str(delta), hint=_AGAIN)
                    path = folder / _inside(entry["path"])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                    path.chmod(0o755 if entry["executable"] else 0o644)
                if sha256(folder / MANIFEST) != header["new"]:
                    raise ArtifactError("the manifest comes out wrong", where=str(delta), hint=_AGAIN)
                load(folder).check()
                if accept:
                    accept(folder)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
        raise ArtifactError(f"the delta is damaged: {error}", where=str(delta), hint=_AGAIN) from error


_AGAIN = "fetch or make the delta again"


def _check_header(header: Any, old: Path, delta: Path) -> None:
    if header["format"] != FORMAT:
        raise ArtifactError(f"delta format {header['format']}, this Edgesmith reads {FORMAT}", where=str(delta))
    if header["old"] != sha256(old / MANIFEST):
        raise ArtifactError(
            f"the delta is for another artifact than {old}", where=str(delta), hint="make it from the one that is there"
        )


def _content(entry: dict[str, Any], old: Path, packed: zipfile.ZipFile) -> bytes:
    if "same" in entry:
        return (old / _inside(entry["same"])).read_bytes()
    base = (old / _inside(entry["base"])).read_bytes() if "base" in entry else b""
    return _decompress(packed.read(entry["part"]), base, int(entry["bytes"]))


def _inside(name: Any) -> str:
    """A relative path that stays in its folder; raises ``ValueError`` for any other."""
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or not path.parts:
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
