"""Labelled pictures from files: IDX (the MNIST family), a folder for each class, NumPy archives."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from edgesmith.compress.training.data import Pictures
from edgesmith.errors import BadInput, ResourceLimit, next_step
from edgesmith.ir import DType, TensorType
from edgesmith.preprocess import Preprocess, load_arrays

__all__ = ["read_arrays", "read_folder", "read_idx"]

MAX_BYTES = 1 << 34
_UINT8 = 8
_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def read_idx(images: Path, labels: Path, classes: tuple[str, ...] = ()) -> Pictures:
    """Pictures (count x height x width) and labels (count) from IDX files, plain or compressed by gzip.

    Raises:
        BadInput: a file is missing, damaged, of another type, or they do not belong together.
    """
    pixels, numbers = _idx(Path(images), 3), _idx(Path(labels), 1)
    if len(pixels) != len(numbers):
        raise BadInput(f"{len(pixels)} pictures, and {len(numbers)} labels in {labels}", where=str(images))
    return Pictures(
        torch.from_numpy(pixels)[:, None], torch.from_numpy(numbers.astype(np.int64)), classes, where=str(images)
    )


def _idx(path: Path, dimensions: int) -> np.ndarray:
    try:
        with open(path, "rb") as plain:
            compressed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) != 4 or magic[:2] != b"\0\0":
                raise BadInput("no IDX file: it does not begin with two zero bytes", where=str(path))
            if magic[2] != _UINT8 or magic[3] != dimensions:
                raise BadInput(
                    f"elements of type 0x{magic[2]:02x} in {magic[3]} dimensions; bytes in {dimensions} are read",
                    where=str(path),
                )
            header = file.read(4 * dimensions)
            if len(header) != 4 * dimensions:
                raise BadInput("truncated within its header", where=str(path))
            shape = tuple(np.frombuffer(header, ">u4").tolist())
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise ResourceLimit(f"{size} bytes by its header; {MAX_BYTES} are read", where=str(path))
            data = file.read(size + 1)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}", where=str(path), hint=next_step(error)) from error
    except (EOFError, zlib.error) as error:
        raise BadInput(f"damaged or truncated: {error}", where=str(path), hint="fetch the file again") from error
    if len(data) != size:
        many = f"{len(data)}" if len(data) < size else "more"
        raise BadInput(f"{size} bytes by its header, but {many} follow", where=str(path), hint="fetch the file again")
    return np.frombuffer(bytearray(data), np.uint8).reshape(shape)


def read_arrays(path: Path, classes: tuple[str, ...] = ()) -> Pictures:
    """Arrays ``x`` and ``y`` of a .npz file; ``x`` is (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3.

    Raises:
        BadInput: the file cannot be read, or holds something else.
    """
    found = load_arrays(Path(path))
    if not isinstance(found, dict) or not {"x", "y"} <= set(found):
        held = ", ".join(found) if isinstance(found, dict) else "no arrays by name"
        raise BadInput(f"it has {held}", where=str(path), hint="a .npz file with arrays x and y")
    pixels, labels = found["x"], found["y"].reshape(-1)
    if labels.dtype.kind not in "iu":
        raise BadInput(f"labels are {labels.dtype}", where=str(path), hint="whole numbers")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind != "f":
            raise BadInput(f"pixels are {pixels.dtype}", where=str(path), hint="bytes or floats")
        pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():
            raise BadInput("a pixel is NaN or infinite", where=str(path))
    return Pictures(
        torch.from_numpy(np.ascontiguousarray(pixels)),
        torch.from_numpy(labels.astype(np.int64)),
        classes,
        where=str(path),
    )


def read_folder(
    folder: Path,
    size: tuple[int, int],
    *,
    channels: int = 3,
    fit: str = "crop",
    split: Path | None = None,
    part: str = "train",
    classes: tuple[str, ...] = (),
) -> Pictures:
    """Pictures from a folder with one folder for each class, decoded and scaled as ``Preprocess`` does for deployment.

    Args:
        folder: its subfolders, in the order of their names, are the classes.
        size: height and width in pixels.
        channels: 1 (grey) or 3.
        fit: ``crop`` or ``stretch``; see ``Preprocess``.
        split: a CSV file with columns ``file`` (below ``folder``), ``label`` and, for ``part`` to choose, ``split``.
        part: the value of column ``split`` to read.
        classes: names by number; else the labels in the file or the folders, sorted.

    Raises:
        BadInput: a file is missing or no picture, or nothing is left.
    """
    folder = Path(folder)
    listed = _listed(folder, Path(split), part) if split else _found(folder)
    if not listed:
        hint = "" if split else f"a folder for each class, and in it pictures ({', '.join(sorted(_SUFFIXES))})"
        raise BadInput(f"no pictures{f' of part {part!r}' if split else ''}", where=str(split or folder), hint=hint)
    names = classes or _sorted({label for _, label in listed})
    numbers = {name: i for i, name in enumerate(names)}
    unknown = sorted({label for _, label in listed} - set(numbers))
    if unknown:
        hint = f"classes: {', '.join(names[:8])}{', ...' * (len(names) > 8)}"
        why = f"label {unknown[0]!r} is none of the {len(names)} classes"
        raise BadInput(why, where=str(split or folder), hint=hint)
    reader, kind = Preprocess(fit=fit), TensorType((1, channels, *size), DType.U8)
    pixels = np.concatenate([reader.picture(path, kind) for path, _ in listed])
    labels = torch.tensor([numbers[label] for _, label in listed])
    return Pictures(torch.from_numpy(pixels), labels, names, where=str(folder))


def _sorted(labels: set[str]) -> tuple[str, ...]:
    """By value where all are numbers, so that class 10 follows class 9."""
    return tuple(sorted(labels, key=lambda v: (int(v), v) if all(x.isdecimal() for x in labels) else (0, v)))


def _found(folder: Path) -> list[tuple[Path, str]]:
    try:
        kinds = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(folder), hint=next_step(error)) from error
    return [(p, kind.name) for kind in kinds for p in sorted(kind.rglob("*")) if p.suffix.lower() in _SUFFIXES]


def _listed(folder: Path, table: Path, part: str) -> list[tuple[Path, str]]:
    try:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(table), hint=next_step(error)) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"no CSV file: {error}", where=str(table)) from error
    listed = []
    for line, row in enumerate(rows, 2):
        name, label = row.get("file"), row.get("label")
        if not name or not label:
            raise BadInput("no file or no label", where=f"{table}, line {line}", hint="columns: file,label,split")
        if row.get("split", part) != part:
            continue
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BadInput(f"{name!r} lies outside of {folder}", where=f"{table}, line {line}")
        listed.append((path, label))
    return listed
