"""Packaging forms: ways to hand a compiled model on, each made from an artifact."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError, BadInput
from edgesmith.recipe import PARTS
from edgesmith.registry import Registry
from edgesmith.target import Target

__all__ = ["FORMS", "PACKAGES", "Form", "check_target", "checked_forms", "checked_version", "form", "pack"]

Write = Callable[[Artifact, str, Path], Path]
Refusal = Callable[[Target, bool], tuple[str, str] | None]


@dataclass(frozen=True)
class Form:
    """A way to hand a model on.

    Args:
        write: writes a package of an artifact, with a version, into a folder, and gives its path. The bytes depend on
            nothing else. Raises ``ArtifactError`` where the artifact has not what the form needs.
        refusal: why artifacts for a target cannot be packaged so, and what to do; None where they can. It is told
            whether they have several variants.
    """

    write: Write
    refusal: Refusal


FORMS: Registry[Form] = Registry("packaging form", "edgesmith.packaging.forms")


def _no_refusal(target: Target, several: bool) -> None:
    """The form takes every artifact."""


def form(name: str, refusal: Refusal = _no_refusal) -> Callable[[Write], Write]:
    """Decorator that registers a form under the word by which ``--emit`` knows it; see ``Form``."""

    def add(write: Write) -> Write:
        FORMS.register(name)(Form(write, refusal))
        return write

    return add


PACKAGES = "packages"
"""The folder of an artifact that holds packages made when it was compiled."""
_VERSION = re.compile(r"\d+(\.\d+){0,3}")


def checked_forms(names: Iterable[str], extra: Iterable[str] = ()) -> tuple[str, ...]:
    """The names, each once; raises ``BadInput`` for one that is neither a form nor among ``extra``."""
    known = (*extra, *FORMS)
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name in PARTS and name not in known:
            hint = f"It is decided when a model is compiled: edgesmith compile MODEL --emit {name}"
            raise BadInput(f"{name!r} is a part of artifacts and no package", where="--emit", hint=hint)
        if name not in known:
            raise BadInput(f"{name!r} is not one of {', '.join(known)}", where="--emit")
    if not found:
        raise BadInput("nothing to make", where="--emit", hint=f"There are: {', '.join(known)}")
    return found


def check_target(names: Iterable[str], target: Target, several: bool, where: str) -> None:
    """Raises ``ArtifactError`` where artifacts for a target cannot have one of the parts or be packaged in a form.

    Args:
        names: of parts and forms.
        several: whether they have several variants.
        where: whose target it is, for the message.
    """
    for name in names:
        refused = _missing_part(name, target) if name in PARTS else FORMS[name].refusal(target, several)
        if refused:
            raise ArtifactError(f"cannot become {name}: {refused[0]}", where=where, hint=refused[1])


def _missing_part(part: str, target: Target) -> tuple[str, str] | None:
    if part != "shared" or not target.is_bare:
        return None
    hint = "--emit static,exe: link the static library into your project (docs/microcontrollers.md)"
    return "microcontrollers load no libraries", hint


def checked_version(text: str) -> str:
    """A version that Python, CMake, pkg-config and Android understand; raises ``BadInput`` for another one."""
    if not _VERSION.fullmatch(text):
        raise BadInput(f"{text!r} is not a version", where="--package-version", hint="numbers and dots, such as 1.2.3")
    return text


def pack(artifact: Artifact, names: Iterable[str], folder: Path, version: str | None = None) -> dict[str, Path]:
    """Make packages of an artifact.

    Args:
        names: of forms.
        folder: where they go; made where it is missing.
        version: of the packages (default: what the artifact was compiled with).

    Returns:
        Path of each package by the form's name.

    Raises:
        BadInput: a name or the version.
        ArtifactError: the artifact was changed since it was compiled, or lacks what a form needs.
    """
    forms = checked_forms(names)
    checked = checked_version(version or str(artifact.manifest.get("version", "")))
    check_target(forms, artifact.target, bool(artifact.variants), str(artifact.path))
    artifact.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {name: FORMS[name].write(artifact, checked, folder) for name in forms}
    except OSError as error:
        raise ArtifactError(
            f"cannot write the package: {error.strerror or error}",
            where=str(error.filename or folder),
            hint="choose another folder with -o",
        ) from error
