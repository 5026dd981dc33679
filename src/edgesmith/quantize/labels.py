"""The right classes of calibration samples, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.preprocess import load_arrays

__all__ = ["read_labels"]

ARRAYS = frozenset((".npy", ".npz"))


def read_labels(path: Path) -> tuple[int, ...]:
    """The class of each sample: the only array of a .npy or .npz file, or the lines of a text file.

    Raises:
        BadInput: the file cannot be read, or holds something else than whole numbers from 0.
    """
    where = f"labels: {path}"
    if path.suffix in ARRAYS:
        found = load_arrays(path)
        arrays = list(found.values()) if isinstance(found, dict) else [found]
        if len(arrays) != 1:
            raise BadInput(f"{len(arrays)} arrays", where=where, hint="one array with a number for each sample")
        labels = np.asarray(arrays[0]).reshape(-1)
        if labels.dtype.kind not in "iu":
            raise BadInput(f"elements are {labels.dtype}", where=where, hint="whole numbers")
    else:
        try:
            labels = np.array([int(line) for line in path.read_text().split()], np.int64)
        except (OSError, ValueError) as error:
            raise BadInput(f"cannot be read: {error}", where=where, hint="one whole number a line") from error
    if not labels.size or labels.min() < 0:
        raise BadInput("no labels, or one below 0", where=where)
    return tuple(int(v) for v in labels)
