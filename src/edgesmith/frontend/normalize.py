"""ONNX hygiene: any model file to one opset, static shapes and checked structure, by a worker process with limits."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, numpy_helper

from edgesmith import errors
from edgesmith.errors import BadInput, EdgesmithError, ModelError, ResourceLimit
from edgesmith.frontend import transfer
from edgesmith.frontend.filetype import PROBE_BYTES, recognise
from edgesmith.frontend.library import OUT_OF_MEMORY
from edgesmith.frontend.limits import MAX_FILE_BYTES
from edgesmith.frontend.transfer import Request
from edgesmith.knobs import FRONTEND_MEMORY_MB, FRONTEND_SECONDS
from edgesmith.processes import owned_process

__all__ = ["Exit", "checked_shapes", "normalize", "run_worker"]

_START_SECONDS = 30  # wall-clock time beyond the limit, for starting on a busy machine


@dataclass(frozen=True)
class Exit:
    """How a worker ended: its return code (negative: the signal), None at the deadline; and the end of its stderr."""

    code: int | None
    stderr: str


def normalize(
    model: str | Path | ModelProto | bytes,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Mapping[str, np.ndarray] | None = None,
) -> ModelProto:
    """A checked and simplified copy of a model, which the rest of Edgesmith can rely on.

    The result has one opset (``limits.TARGET_OPSET``); sorted nodes of the standard domain with unique names; no
    subgraphs, functions or Constant nodes; a static shape for every value, in ``value_info``; all weights inline as
    initialisers (raw data), also beyond the 2 GiB at which such a model can no longer be serialised. Inputs and outputs
    keep their names and order, and so do the values that nodes compute.

    Args:
        model: path of an ONNX file, whose external data must lie in its folder; or the file's bytes; or a loaded model.
        shapes: shapes for inputs with open dimensions.
        bindings: values for inputs that become constants.

    Raises:
        ModelError: the file is missing, not ONNX, damaged, unsafe, or breaks ONNX's rules.
        UnsupportedOp: an operator is not standard ONNX, or its shapes or branches depend on the data.
        BadInput: ``shapes`` or ``bindings`` do not fit the model, or dimensions remain open.
        ResourceLimit: more than 2 GiB in one file, 8 GiB in one tensor, or the limits ``EDGESMITH_FRONTEND_MEMORY_MB``
            and ``EDGESMITH_FRONTEND_SECONDS``.
    """
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as name:
        folder = Path(name)
        source = _stage(model, folder)
        data_folder = str(source.absolute().parent) if isinstance(model, str | Path) else None
        seconds, memory_mb = FRONTEND_SECONDS(), FRONTEND_MEMORY_MB()
        request = Request(str(source.absolute()), data_folder, checked_shapes(shapes or {}), seconds, memory_mb << 20)
        request.write(folder)
        (folder / "bindings.bin").write_bytes(_bindings(bindings or {}).SerializeToString())
        try:
            return _collect(folder, run_worker(folder, seconds + _START_SECONDS))
        except EdgesmithError as error:
            label = str(model) if isinstance(model, str | Path) else ""
            where = ": ".join(filter(None, (label, error.where)))
            raise type(error)(error.why, where=where, hint=error.hint) from None


def _stage(model: str | Path | ModelProto | bytes, folder: Path) -> Path:
    """The model as a file that a worker can read."""
    if isinstance(model, str | Path):
        path = Path(model)
        _check_file(path)
        return path
    path = folder / "input.onnx"
    if isinstance(model, ModelProto):
        try:
            model = model.SerializeToString()
        except Exception as error:  # protobuf raises EncodeError or ValueError, by version
            raise ResourceLimit(
                "a loaded model of 2 GiB or more cannot be handed over",
                hint="Save it with external data and give its path.",
            ) from error
    if not isinstance(model, bytes):
        raise BadInput(f"the model is a {type(model).__name__}, needs a path, bytes or onnx.ModelProto")
    _check_type(model[:PROBE_BYTES], len(model), "")
    path.write_bytes(model)
    return path


def _check_file(path: Path) -> None:
    where = str(path)
    if path.is_dir():
        kind = "a TensorFlow SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        hint = "Convert it with 'python -m tf2onnx.convert --saved-model'." if "SavedModel" in kind else ""
        raise ModelError(f"this is {kind}, not an ONNX file", where=where, hint=hint)
    if not path.exists():
        raise ModelError("there is no such file", where=where)
    if not path.is_file():
        raise ModelError("this is not a regular file", where=where)
    try:
        with path.open("rb") as file:
            head = file.read(PROBE_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"the file cannot be read: {error.strerror}", where=where) from error
    _check_type(head, size, where)


def _check_type(head: bytes, size: int, where: str) -> None:
    if size == 0:
        raise ModelError("the file is empty", where=where)
    kind = recognise(head)
    if kind is not None:
        raise ModelError(f"this is {kind.name}, not an ONNX model", where=where, hint=kind.hint)
    if size > MAX_FILE_BYTES:
        hint = "Save the model with external data."
        raise ResourceLimit("an ONNX file cannot be larger than 2 GiB", where=where, hint=hint)


def checked_shapes(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Shapes as plain integers; raises ``BadInput`` for what is none."""
    checked = {}
    for name, shape in shapes.items():
        try:
            sizes = [operator.index(size) for size in shape]
        except TypeError as error:
            raise BadInput(f"{shape!r} is not a shape: a sequence of integers", where=f"input {name!r}") from error
        if any(not 0 <= size < 2**63 for size in sizes):
            raise BadInput(f"the shape {tuple(sizes)} has a dimension out of range", where=f"input {name!r}")
        checked[name] = sizes
    return checked


def _bindings(bindings: Mapping[str, np.ndarray]) -> GraphProto:
    graph = GraphProto()
    for name, value in bindings.items():
        try:
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        except Exception as error:  # from_array raises what it meets first: ValueError, TypeError, NotImplementedError
            kind = getattr(value, "dtype", type(value).__name__)
            raise BadInput(f"a value of type {kind} is not a tensor", where=f"input {name!r}") from error
    return graph


def run_worker(folder: Path, deadline_seconds: float) -> Exit:
    """Run a worker on ``folder`` to its end or to the deadline; it does not outlive this call."""
    command = [sys.executable, "-P", "-m", "edgesmith.frontend.worker", str(folder)]
    single_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    log = folder / "stderr"
    environment = {**os.environ, **single_thread}
    code = None
    with log.open("wb") as stderr, suppress(subprocess.TimeoutExpired):
        quiet = subprocess.DEVNULL
        with owned_process(command, stdin=quiet, stdout=quiet, stderr=stderr, env=environment) as process:
            code = process.wait(deadline_seconds)
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        return Exit(code, file.read().decode(errors="replace"))


def _collect(folder: Path, end: Exit) -> ModelProto:
    """The model that a worker left, or the error that it met or was."""
    report = folder / "error.json"
    if end.code == 0 and report.exists():
        entry = json.loads(report.read_text())
        kind: type[EdgesmithError] = getattr(errors, entry["kind"])
        raise kind(entry["why"], where=entry["where"], hint=entry["hint"] or _limit_hint(kind))
    if end.code == 0:
        return transfer.read(folder)
    if end.code is None or end.code == -getattr(signal, "SIGXCPU", 0):
        raise ResourceLimit(
            f"reading the model takes longer than {FRONTEND_SECONDS()} s",
            hint=f"Raise {FRONTEND_SECONDS.name} if it is sound.",
        )
    if end.code == -signal.SIGKILL or OUT_OF_MEMORY.search(end.stderr) or "MemoryError" in end.stderr:
        raise ResourceLimit("reading the model takes too much memory", hint=_limit_hint(ResourceLimit))
    if end.code < 0:
        name = signal.Signals(-end.code).name
        raise ModelError(f"the ONNX libraries crashed on this model ({name})", hint="The file is damaged or hostile.")
    line = next((line for line in reversed(end.stderr.splitlines()) if line.strip()), "no message")
    raise ModelError(f"the worker process failed: {line.strip()[:300]}")


def _limit_hint(kind: type[EdgesmithError]) -> str:
    if not issubclass(kind, ResourceLimit):
        return ""
    return f"The limit is {FRONTEND_MEMORY_MB()} MB; raise {FRONTEND_MEMORY_MB.name} if the model is sound."
