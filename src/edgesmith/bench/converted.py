"""Models in the formats of peers, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from edgesmith import knobs
from edgesmith.bench.installed import Installed
from edgesmith.bench.peers import Peer
from edgesmith.eviction import evict

__all__ = ["converted"]

IN_USE_SECONDS = 24 * 3600.0
"""A process that asked for a model may use it for so long."""


def converted(peer: Peer, installed: Installed, model: Path) -> Path:
    """The folder with what the peer's ``convert`` made of an ONNX file. It appears whole or not at all.

    It stays for a day after it was last asked for; then it may leave for others.

    Raises:
        PeerFailed: the peer cannot convert the model.
    """
    with model.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    about = json.dumps([content, peer.packages, peer.converter, peer.file.read_text()])
    folder = knobs.CACHE_DIR() / "peers" / "models" / f"{peer.name}-{hashlib.sha256(about.encode()).hexdigest()[:24]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with installed.converter(peer) as worker:
                worker.convert(model, part)
            if not folder.is_dir():
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        evict(folder.parent, folder.name, IN_USE_SECONDS)
    with suppress(OSError):
        os.utime(folder)
    return folder
