"""Artifacts: a folder with a compiled program, its sources and its manifest."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.device.local import Context, Program, arranged
from edgesmith.errors import ArtifactError
from edgesmith.ir import DType, TensorType

__all__ = ["FORMAT", "MANIFEST", "Artifact", "load", "sha256"]

MANIFEST = "manifest.json"
FORMAT = 1


class Artifact:
    """A compiled model, callable with numpy arrays.

    ``artifact(x)`` or ``artifact(**{"x": x})`` takes arrays in the model's own layout, shape and dtype, and returns one
    array, or a dict by name in the model's order when there are several outputs. Calls from several threads run at the
    same time, each in a context of its own; the GIL is released meanwhile.

    Args:
        path: the artifact's folder.
        threads: threads that share one run (default: what the artifact was compiled with).

    Raises:
        ArtifactError: the folder is no artifact, is damaged, or was made by an incompatible version.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self.threads = int(threads or self.manifest["threads"])
        self.inputs = {t["name"]: _type(t) for t in self.manifest["inputs"]}
        self.outputs = {t["name"]: _type(t) for t in self.manifest["outputs"]}
        self._lock = threading.Lock()
        self._program: Program | None = None
        self._idle: list[Context] = []

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def library(self) -> Path:
        return self.path / f"lib{self.name}.so"

    @property
    def executable(self) -> Path:
        return self.path / self.name

    @property
    def program(self) -> Program:
        """The loaded shared library."""
        with self._lock:
            if self._program is None:
                self._program = Program(self.library, self.name)
            return self._program

    def check(self) -> None:
        """Compare every file with its hash in the manifest; raises ``ArtifactError`` naming the first that differs."""
        for file, digest in self.manifest["files"].items():
            path = self.path / file
            if not path.is_file():
                raise ArtifactError("file is missing", where=str(path), hint="compile the model again")
            if sha256(path) != digest:
                raise ArtifactError(
                    "file was changed since it was compiled", where=str(path), hint="compile the model again"
                )

    def context(self) -> Context:
        """A fresh context for step-by-step work."""
        return Context(self.program, self.threads)

    def __call__(self, *inputs: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        program = self.program
        arrays = arranged(program, inputs, named)
        outputs = {n: np.empty(t.shape, t.dtype.numpy) for n, t in program.outputs.items()}
        with self._lock:
            context = self._idle.pop() if self._idle else None
        context = context or self.context()
        try:
            context.run(arrays, list(outputs.values()))
        finally:
            with self._lock:
                self._idle.append(context)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def __repr__(self) -> str:
        signature = ", ".join(f"{n}: {t}" for n, t in self.inputs.items())
        result = ", ".join(f"{n}: {t}" for n, t in self.outputs.items())
        return f"<Artifact {self.name} ({signature}) -> ({result}) for {self.manifest['target']}>"


def load(path: str | Path, threads: int | None = None) -> Artifact:
    """The artifact in a folder; see ``Artifact``."""
    return Artifact(path, threads)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _type(entry: Mapping[str, Any]) -> TensorType:
    return TensorType(tuple(entry["shape"]), DType[entry["dtype"].upper()])


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text())
        found = manifest["format"]
    except FileNotFoundError:
        raise ArtifactError(
            "no artifact here (manifest.json is missing)",
            where=str(path),
            hint="make one: edgesmith compile model.onnx -o " + str(path),
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the manifest cannot be read: {error}", where=str(file)) from error
    if found != FORMAT:
        raise ArtifactError(
            f"artifact format {found}, this Edgesmith reads {FORMAT}", where=str(path), hint="compile the model again"
        )
    return dict(manifest)
