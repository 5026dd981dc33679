"""External data of ONNX models: read only from inside the model's folder, and only what the file really holds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from edgesmith.errors import ModelError
from edgesmith.frontend.tensors import byte_count

__all__ = ["load"]


def load(tensor: TensorProto, folder: Path | None, where: str) -> None:
    """Replace a tensor's reference to external data by the data.

    Args:
        tensor: with ``data_location`` EXTERNAL; changed in place.
        folder: the model's folder, or None for a model that did not come from a file.
        where: the tensor's place, for messages.

    Raises:
        ModelError: the path leaves the folder (absolute, ``..``, symbolic link), the file is missing or not regular, or
            offset and length do not fit the file or the tensor's shape. All of it is checked before reading.
    """
    needed = byte_count(tensor.data_type, tensor.dims, where)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _confined(entries.get("location", ""), folder, where)
    offset = _number(entries, "offset", 0, where)
    length = _number(entries, "length", needed, where)
    if tensor.data_type == TensorProto.STRING:
        raise ModelError("strings cannot be external data", where=where)
    if length != needed:
        raise ModelError(f"the external data is {length} bytes long, the shape needs {needed}", where=where)
    try:
        size = path.stat().st_size
        if offset + length > size:
            raise ModelError(
                f"the external data, bytes {offset} to {offset + length}, is beyond the end of {path.name} ({size})",
                where=where,
                hint="The data file is truncated or belongs to another model.",
            )
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}", where=where) from error
    if len(data) != length:
        raise ModelError(f"{path.name} changed while it was read", where=where)
    tensor.raw_data = data
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _confined(location: str, folder: Path | None, where: str) -> Path:
    if folder is None:
        raise ModelError(
            "the model refers to external data but was not given as a file",
            where=where,
            hint="Give the path of the model, with its data files beside it.",
        )
    if not location or "\0" in location:
        raise ModelError("the external data has no file name", where=where)
    escapes = (
        PurePosixPath(location).is_absolute()
        or bool(PureWindowsPath(location).anchor)
        or ".." in PureWindowsPath(location).parts
    )
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        exists, regular = path.exists(), path.is_file()
    except (OSError, RuntimeError) as error:
        raise ModelError(f"cannot resolve the external data file {location[:80]!r}", where=where) from error
    if escapes or not path.is_relative_to(root):
        raise ModelError(
            f"the external data file {location!r} is outside of the model's folder",
            where=where,
            hint="Refused for safety; put the data file beside the model, without symbolic links.",
        )
    if not exists:
        raise ModelError(
            f"the external data file {location!r} is missing",
            where=where,
            hint=f"Put it into {root}.",
        )
    if not regular:
        raise ModelError(f"the external data {location!r} is not a regular file", where=where)
    return path


def _number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"the external data's {key} is {text[:40]!r}, not a byte count", where=where)
    return int(text)
