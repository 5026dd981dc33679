"""What may be added to an artifact after it was compiled: how pictures become inputs, and where its model lies.

Neither decides what the program computes, and the manifest's hashes cover the other files, so they stay right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgesmith.atomic import write_file
from edgesmith.device.artifact import MANIFEST, read_manifest

__all__ = ["PREPROCESS", "SOURCE", "keep", "source"]

PREPROCESS = "preprocess"
SOURCE = "source"
_KEYS = (PREPROCESS, SOURCE)


def keep(artifact: Path, key: str, value: Any) -> None:
    """Set ``preprocess`` or ``source`` in the manifest; the file is replaced as a whole.

    Raises:
        ArtifactError: the folder is no artifact.
    """
    if key not in _KEYS:
        raise ValueError(f"{key!r} is none of {_KEYS}")
    manifest = {**read_manifest(artifact), key: value}
    write_file(artifact / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def source(artifact: Path, manifest: dict[str, Any]) -> str | None:
    """Where the model lay when it was compiled: ``zoo:NAME`` or a path, if it is still there."""
    text = manifest.get(SOURCE)
    if not text or str(text).startswith("zoo:"):
        return text
    path = artifact / str(text)
    return str(path) if path.is_file() else None
