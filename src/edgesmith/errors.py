"""Every error that Edgesmith raises on purpose: one tree, each message saying where, why and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

__all__ = [
    "ArtifactError",
    "BadInput",
    "BudgetMissed",
    "CompilerFailed",
    "DeviceError",
    "DoesNotFit",
    "EdgesmithError",
    "GraphError",
    "MissingDependency",
    "ModelError",
    "NoKernel",
    "ResourceLimit",
    "TargetError",
    "TrainingDiverged",
    "Unreachable",
    "UnsupportedOp",
    "VerificationFailed",
    "next_step",
]


class EdgesmithError(Exception):
    """Base of all deliberate errors.

    Args:
        why: what is wrong, in one sentence.
        where: file, layer or option that it concerns.
        hint: the next step for the user.
    """

    def __init__(self, why: str, *, where: str = "", hint: str = "") -> None:
        self.why, self.where, self.hint = why, where, hint
        super().__init__(why, where, hint)

    def __str__(self) -> str:
        text = f"{self.where}: {self.why}" if self.where else self.why
        return f"{text}\n  {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.why, self.where, self.hint)


def _rebuild(kind: type[EdgesmithError], why: str, where: str, hint: str) -> EdgesmithError:
    return kind(why, where=where, hint=hint)


class ModelError(EdgesmithError):
    """The model file is malformed, incomplete or unsafe to read."""


class UnsupportedOp(ModelError):
    """The model is well-formed but uses an operator, type or attribute that Edgesmith does not implement."""


class GraphError(EdgesmithError):
    """An operation on the graph broke one of its invariants: a defect in a pass or in the frontend."""


class ResourceLimit(EdgesmithError):
    """Reading or compiling the model would take more memory or time than allowed."""


class TargetError(EdgesmithError):
    """The target is unknown or inconsistent."""


class NoKernel(EdgesmithError):
    """No kernel accepts a region of the graph on this target."""


class DoesNotFit(EdgesmithError):
    """The program needs more memory than the device or the user allows."""


class BudgetMissed(EdgesmithError):
    """Compression cannot bring a network within the time, size or accuracy that was asked for."""


class CompilerFailed(EdgesmithError):
    """The C compiler or linker is missing or refused the generated code."""


class ArtifactError(EdgesmithError):
    """A compiled artifact is missing, damaged, or does not fit this machine or version."""


class DeviceError(EdgesmithError):
    """A device cannot be reached, lacks something, or a program fails on it."""


class Unreachable(DeviceError):
    """There is no connection to a device, for now."""


class BadInput(EdgesmithError, ValueError):
    """Data given at run time has the wrong name, dtype, shape or format."""


class TrainingDiverged(EdgesmithError):
    """The loss of a training run became infinite or NaN."""


class VerificationFailed(EdgesmithError):
    """The compiled program differs from the reference by more than the derived tolerance."""


class MissingDependency(EdgesmithError):
    """An optional library is needed for this call and is not installed."""


def next_step(error: OSError) -> str:
    """What to do about a file that cannot be read or written; empty where nobody knows."""
    if error.errno == errno.ENOENT and error.filename:
        folder = Path(str(error.filename)).parent
        return "check the path" if folder.is_dir() else f"there is no folder {folder}; make it, or name another"
    return _NEXT_STEPS.get(error.errno or 0, "")


_NEXT_STEPS = {
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EEXIST: "there is a file of this name; name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENOSPC: "free some space, or name a place on another disk",
    errno.EDQUOT: "free some space, or name a place on another disk",
    errno.ENOTDIR: "a part of the path is a file; check it",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENAMETOOLONG: "name a shorter one",
}
