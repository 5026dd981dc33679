"""Artifacts: a folder with a compiled program, its sources and its manifest."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith import knobs
from edgesmith.device.local import Context, Program, arranged
from edgesmith.errors import ArtifactError, BadInput
from edgesmith.ir import DType, TensorType
from edgesmith.plan import Patching
from edgesmith.target import ISAS, System, Target, parse, profiles, system_of

__all__ = [
    "FORMAT",
    "LOCK",
    "MANIFEST",
    "PRECISION",
    "TIMES",
    "UNHASHED",
    "VERIFICATION",
    "Artifact",
    "load",
    "read_manifest",
    "sha256",
]

MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
LOCK = "lock.json"
"""The choices behind the program; with it, the same program can be built again."""
TIMES = "times.json"
PRECISION = "precision.json"
"""Measured times behind the choices; like the verification in no hash, because they differ from run to run."""
UNHASHED = frozenset((MANIFEST, VERIFICATION, TIMES, PRECISION))
"""What the manifest has no hashes of."""
FORMAT = 1
_ENTRIES = frozenset(("target", "model", "memory", "steps", "free", "copies", "passes", "skipped"))
_STEP_ENTRIES = frozenset(
    (
        *("name", "operators", "nodes", "origin", "inputs", "outputs", "shape", "kernel", "schedule", "function"),
        *("tasks", "macs", "flops", "bytes", "predicted_ns", "considered"),
    )
)
"""What the commands read; all that ``manifest.describe`` writes of a step."""


class Artifact:
    """A compiled model, callable with numpy arrays.

    ``artifact(x)`` or ``artifact(**{"x": x})`` takes arrays in the model's own layout, shape and dtype, and returns one
    array, or a dict by name in the model's order when there are several outputs. Calls from several threads run at the
    same time, each in a context of its own; the GIL is released meanwhile. A child process made by ``fork`` may go on
    using it.

    Args:
        path: the artifact's folder.
        threads: threads that share one run (default: what the artifact was compiled with).
        isa: of an artifact for several instruction sets, the variant that is meant by everything here: the manifest's
            memory and steps, and what runs (default: ``EDGESMITH_ISA``; else the best that this machine runs; else the
            best).

    Raises:
        ArtifactError: the folder is no artifact, is damaged, or was made by an incompatible version.
        BadInput: it has no such variant.
    """

    def __init__(self, path: str | Path, threads: int | None = None, isa: str | None = None) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        # A choice that differs from the library's own must not reach others who use the same library.
        self._alone = isa is not None
        self._asked = isa is not None or bool(knobs.ISA())
        try:
            self.variant = _variant(self.manifest, isa, self.path)
            if self.variant:
                self.manifest |= self.manifest["variants"][self.variant]
            _check_entries(self.manifest)
            self.threads = int(self.manifest["threads"] if threads is None else threads)
            self.inputs = {t["name"]: _type(t) for t in self.manifest["inputs"]}
            self.outputs = {t["name"]: _type(t) for t in self.manifest["outputs"]}
            self.name = str(self.manifest["name"])
            self._digests: dict[str, str] = dict(self.manifest["files"])
        except BadInput:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.path / MANIFEST, f"{type(error).__name__} {error}") from error
        if not self.name.isidentifier():
            raise _damaged(self.path / MANIFEST, f"name {self.name!r}")
        self._program: Program | None = None
        # Appending and popping are atomic; no lock, because a child process could inherit it locked.
        self._idle: deque[Context] = deque()

    @property
    def library(self) -> Path:
        return self.path / self._system.shared.format(self.name)

    @property
    def executable(self) -> Path:
        return self.path / self._system.executable.format(self.name)

    @property
    def _system(self) -> System:
        return system_of(str(self.manifest["target"]).partition("+")[0])

    @property
    def variants(self) -> tuple[str, ...]:
        """Instruction sets among which programs pick when they run, best first; empty: it was compiled for one."""
        return tuple(self.manifest.get("variants", ()))

    @property
    def words(self) -> list[str]:
        """What an executable is told besides its command: the variant that was asked for; else it picks one itself."""
        return ["--isa", self.variant] if self.variant and self._asked else []

    def with_variant(self, isa: str) -> Artifact:
        """It with another variant asked for; raises ``BadInput`` where it has none of this name."""
        return Artifact(self.path, self.threads, isa)

    @property
    def program(self) -> Program:
        """The shared library, checked and loaded at first use; raises ``ArtifactError``."""
        if self._program is None:
            self.check_machine()
            if self.library.name not in self._digests:
                hint = "compile the model with --emit shared"
                raise ArtifactError("has no shared library", where=str(self.path), hint=hint)
            self._check_file(self.library.name)
            self._program = Program(self.library, self.name, self.variant, alone=self._alone)
        return self._program

    @property
    def target(self) -> Target:
        """What it was compiled for; raises ``TargetError`` when this version does not know it."""
        target = parse(str(self.manifest["target"]))
        device = str(self.manifest.get("device") or "")
        # Programs without a system are laid out for a processor, which the device knows.
        if target.is_bare and device in profiles():
            return replace(parse(device), isas=target.isas)
        return target

    @property
    def patching(self) -> Patching | None:
        """What it computes patch by patch."""
        patches = self.manifest.get("patches")
        return Patching.from_json(patches) if patches else None

    def digest(self, file: str) -> str:
        """SHA-256 of one of its files, as the manifest said when it was read."""
        return self._digests[file]

    def check(self) -> None:
        """Compare every file with its hash in the manifest; raises ``ArtifactError`` naming the first that differs."""
        for file in self._digests:
            self._check_file(file)

    def _check_file(self, file: str) -> None:
        path = self.path / file
        if not path.is_file():
            raise ArtifactError("file is missing", where=str(path), hint="compile the model again")
        if sha256(path) != self._digests.get(file):
            raise ArtifactError(
                "file was changed since it was compiled", where=str(path), hint="compile the model again"
            )

    def check_machine(self) -> None:
        """Raise ``ArtifactError`` where this machine does not run it."""
        _check_machine(self.manifest, self.path)

    @property
    def verification(self) -> dict[str, Any] | None:
        """What comparing it with ONNX Runtime found when it was compiled; None when that was skipped."""
        return self._of_variant(VERIFICATION)

    @property
    def times(self) -> dict[str, Any]:
        """Measured times of the kernels that were considered for each step, fastest first, by the step's name."""
        return self._of_variant(TIMES) or {}

    @property
    def precision(self) -> dict[str, Any] | None:
        """Times of each product in floats and in integers, by which ``precision="auto"`` chose; None without it."""
        return self._extra(PRECISION)

    def _of_variant(self, file: str) -> dict[str, Any] | None:
        found = self._extra(file)
        return found.get(self.variant) if found and self.variant else found

    def _extra(self, file: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.path / file).read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The inputs as arrays in the model's order; raises ``BadInput`` when they do not fit."""
        return dict(zip(self.inputs, arranged(self.inputs, (), inputs), strict=True))

    def context(self) -> Context:
        """A fresh context for step-by-step work."""
        return Context(self.program, self.threads)

    def __call__(self, *inputs: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        program = self._program or self.program
        arrays = arranged(self.inputs, inputs, named)
        outputs = [np.empty(t.shape, t.dtype.numpy) for t in program.outputs.values()]
        try:
            context = self._idle.pop()
        except IndexError:
            context = self.context()
        try:
            context.run(arrays, outputs)
        finally:
            self._idle.append(context)
        return outputs[0] if len(outputs) == 1 else dict(zip(program.outputs, outputs, strict=True))

    def __repr__(self) -> str:
        signature = ", ".join(f"{n}: {t}" for n, t in self.inputs.items())
        result = ", ".join(f"{n}: {t}" for n, t in self.outputs.items())
        return f"<Artifact {self.name} ({signature}) -> ({result}) for {self.manifest['target']}>"


def load(path: str | Path, threads: int | None = None, isa: str | None = None) -> Artifact:
    """The artifact in a folder; see ``Artifact``."""
    return Artifact(path, threads, isa)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes; raises ``ArtifactError`` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _type(entry: Mapping[str, Any]) -> TensorType:
    return TensorType(tuple(map(int, entry["shape"])), DType[entry["dtype"].upper()])


def _check_entries(manifest: Mapping[str, Any]) -> None:
    """``KeyError`` names the first entry that is missing, as in the manifest of another version."""
    for entries, needed in ((manifest, _ENTRIES), *((step, _STEP_ENTRIES) for step in manifest["steps"])):
        missing = sorted(needed - entries.keys())
        if missing:
            raise KeyError(missing[0])


def _damaged(file: Path, what: str) -> ArtifactError:
    return ArtifactError(f"the manifest is damaged: {what}", where=str(file), hint="compile the model again")


def _check_machine(manifest: Mapping[str, Any], path: Path) -> None:
    """A program that uses instructions which this machine lacks, and does not ask for first, would kill the process."""
    here = parse("native")
    triple = str(manifest["target"]).partition("+")[0]
    if system_of(triple).is_bare:
        raise ArtifactError(
            "is for a microcontroller, and no program of this machine",
            where=str(path),
            hint=f"'edgesmith verify' runs it on a board that QEMU emulates; link lib{manifest['name']}.a into your "
            "project for the device (docs/microcontrollers.md).",
        )
    if triple != here.triple:
        raise ArtifactError(
            f"was compiled for {triple}, this machine is {here}",
            where=str(path),
            hint=f"Copy the folder there and run ./{manifest['name']} --selftest; "
            "'edgesmith verify' runs it here where QEMU or wasmtime is installed.",
        )
    missing = {i for i in manifest.get("isas", ()) if i not in ISAS or ISAS[i].permission is None} - set(here.isas)
    if missing:
        raise ArtifactError(
            f"needs {', '.join(sorted(missing))}, which this machine lacks",
            where=str(path),
            hint=f"compile the model for {here}",
        )


def _variant(manifest: Mapping[str, Any], isa: str | None, path: Path) -> str | None:
    """The variant that is meant; None where there are none."""
    known = [str(name) for name in manifest.get("variants", ())]
    wanted = isa or (knobs.ISA() if known else "")
    if wanted and wanted not in known:
        what = ", ".join(known) if known else f"one instruction set: {manifest.get('target')}"
        raise BadInput(f"was not compiled for {wanted!r}, but for {what}", where=str(path))
    if wanted:
        return wanted
    here = parse("native")
    for name in known:
        target = parse(str(manifest["variants"][name]["target"]))
        if target.triple == here.triple and set(target.isas) <= set(here.isas):
            return name
    return known[0] if known else None


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest as it is stored; that of one variant is ``Artifact.manifest``."""
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text())
        found = manifest["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            "no artifact here (manifest.json is missing)",
            where=str(path),
            hint="make one: edgesmith compile model.onnx -o " + str(path),
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    if found != FORMAT:
        raise ArtifactError(
            f"artifact format {found}, this Edgesmith reads {FORMAT}", where=str(path), hint="compile the model again"
        )
    return dict(manifest)
