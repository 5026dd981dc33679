"""Compiled artifacts kept by content, so that compiling the same network again takes no time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgesmith import knobs
from edgesmith.eviction import INDEX, evict, nbytes, remove
from edgesmith.frontend.tensors import attribute_tensors

__all__ = ["find", "insert", "model_digest", "source_digest"]

_FOLDER = "artifacts"
_CHUNK = 1 << 20


@cache
def source_digest() -> str:
    """SHA-256 over this package's own files: another Edgesmith, even with the same version number, has another."""
    sha = hashlib.sha256()
    root = Path(str(resources.files("edgesmith")))
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0")
        sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def model_digest(model: str | Path | onnx.ModelProto | bytes) -> str | None:
    """SHA-256 of a model with its external data; None when it cannot be read (which is for the frontend to explain)."""
    try:
        if isinstance(model, onnx.ModelProto):
            return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        if isinstance(model, bytes):
            return hashlib.sha256(model).hexdigest()
        path = Path(model)
        data = path.read_bytes()
        sha = hashlib.sha256(data)
        if b"location" in data:  # the key under which a tensor names its file
            for file in _external_files(data):
                if not (path.parent / file).is_file():
                    return None
                with (path.parent / file).open("rb") as opened:
                    sha.update(file.encode() + b"\0" + hashlib.file_digest(opened, "sha256").digest())
        return sha.hexdigest()
    except (OSError, ValueError, TypeError, DecodeError):
        return None


def _external_files(data: bytes) -> list[str]:
    """Names of the external data files; ``ValueError`` for one that is no plain file in the model's folder."""
    model = onnx.ModelProto.FromString(data)
    tensors = [*model.graph.initializer]
    for nodes in (model.graph.node, *(f.node for f in model.functions)):
        tensors += [tensor for _, tensor in attribute_tensors(nodes)]
    found = {e.value for t in tensors for e in t.external_data if e.key == "location"}
    for name in found:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name} leaves the model's folder")
    return sorted(found)


def find(key: str, needed: str, into: Path) -> bool:
    """Copy the entry ``key`` into the empty folder ``into``.

    Args:
        needed: a file that the entry must have.

    Returns:
        False when there is no such entry. A damaged one is removed.
    """
    entry = _root() / key
    try:
        digests = json.loads((entry / INDEX).read_text())["files"]
        if needed not in digests:
            return False
        if _copy_all(entry / "files", into, digests) != digests:
            raise ValueError("damaged")
    except FileNotFoundError:
        _clear(into)
        return False
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        _clear(into)
        remove(entry)
        return False
    with contextlib.suppress(OSError):
        os.utime(entry)
    return True


def insert(key: str, folder: Path) -> None:
    """Keep a copy of ``folder`` under ``key``, and drop the entries used longest ago beyond ``EDGESMITH_CACHE_MB``.

    A cache that cannot be written is no error: the next compilation just takes its time.
    """
    root = _root()
    part = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part.", dir=root))
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        digests = _copy_all(folder, part / "files", files)
        (part / INDEX).write_text(json.dumps({"bytes": nbytes(part), "files": digests}))
        remove(root / key)
        part.rename(root / key)
        evict(root, key)
    except OSError:
        pass
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _root() -> Path:
    return knobs.CACHE_DIR() / _FOLDER


def _copy_all(source: Path, target: Path, names: Iterable[str]) -> dict[str, str]:
    """Copy files from folder to folder and return the SHA-256 of each."""
    for folder in {(target / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(knobs.JOBS()) as pool:
        digests = pool.map(lambda name: _copy(source / name, target / name), names)
        return dict(zip(names, digests, strict=True))


def _copy(source: Path, target: Path) -> str:
    """Copy a file with its mode and return the SHA-256 of what was copied."""
    sha = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            sha.update(chunk)
            writer.write(chunk)
    shutil.copymode(source, target)
    return sha.hexdigest()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
