"""Arguments that several commands share, and how their text is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer

from edgesmith import zoo
from edgesmith.errors import BadInput

__all__ = [
    "ArtifactArgument",
    "BindOption",
    "Model",
    "ModelArgument",
    "ShapeOption",
    "bindings",
    "given",
    "model",
    "names",
    "positive_numbers",
    "refuse_unused",
    "shapes",
]

Model = Path | onnx.ModelProto

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="An ONNX file, or zoo:NAME for a built-in network (zoo:mobilenet-v2).")
]
ArtifactArgument = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="The folder that 'edgesmith compile' made.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=N,C,H,W", help="Shape of an input whose dimensions the model leaves open."),
]
BindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bind", metavar="NAME=VALUE", help="Fix an input to a value: a number, a,b,c for a list, or @file.npy."
    ),
]

ZOO = "zoo:"


def model(text: str) -> Model:
    """The model that ``text`` names: a path, or a network of the zoo with seeded weights.

    Raises:
        EdgesmithError: the zoo has no such network.
    """
    return zoo.build(text.removeprefix(ZOO)) if text.startswith(ZOO) else Path(text)


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, separator, value = text.rpartition("=") if "=@" not in text else text.partition("=")
    if not separator or not name or not value:
        raise BadInput(f"cannot read {text!r}", where=option, hint=f"Write {option} {example}")
    return name, value


def shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """``["x=1,3,224,224"]`` -> ``{"x": (1, 3, 224, 224)}``; ``1x3x224x224`` is read as well.

    Raises:
        BadInput: a text of another form, or a name given twice.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        name, value = _pair(text, "--shape", "x=1,3,224,224")
        try:
            extents = tuple(int(n) for n in value.replace("x", ",").split(",") if n.strip())
        except ValueError:
            raise BadInput(f"{value!r} is not a shape", where="--shape", hint="Write --shape x=1,3,224,224") from None
        if name in found:
            raise BadInput(f"{name!r} is given twice", where="--shape")
        found[name] = extents
    return found


def bindings(texts: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Values of inputs that become constants: ``n=3`` (a scalar), ``n=1,2,3`` (a list), ``n=@file.npy``.

    Whole numbers become int64, others float32; the frontend converts them to the input's type where nothing is lost.

    Raises:
        BadInput: a text of another form, a file that is no array, or a name given twice.
    """
    found: dict[str, np.ndarray] = {}
    for text in texts or ():
        name, value = _pair(text, "--bind", "n=3 or n=@file.npy")
        if name in found:
            raise BadInput(f"{name!r} is given twice", where="--bind")
        found[name] = _array(Path(value[1:])) if value.startswith("@") else _numbers(value)
    return found


def names(option: str, text: str | None) -> tuple[str, ...]:
    """``avx2,avx512`` -> ``("avx2", "avx512")``; nothing where the option is not given.

    Raises:
        BadInput: an empty name.
    """
    if text is None:
        return ()
    parts = tuple(p.strip() for p in text.split(","))
    if not all(parts):
        raise BadInput(f"cannot read {text!r}", where=option, hint=f"Write {option} NAME, or {option} NAME,NAME")
    return parts


def given(context: typer.Context, name: str) -> bool:
    """Whether a parameter stands on the command line; ``name`` is that of the command's function."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_unused(context: typer.Context, names: Iterable[str], why: str, hint: str = "omit it") -> None:
    """Raise ``BadInput`` naming the first of some parameters that stands on the command line without a use.

    Args:
        names: those of the command's function.
        why: what makes it useless.
    """
    words = {p.name: max(p.opts, key=len) for p in context.command.params}
    for name in names:
        if given(context, name):
            raise BadInput(f"has no use {why}", where=words[name], hint=hint)


def positive_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """``1,2`` -> ``(1, 2)``; nothing where nothing is given.

    Raises:
        BadInput: something else than whole numbers above 0.
    """
    parts = [p.strip() for p in (text or "").split(",") if p.strip()]
    if not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise BadInput(f"cannot read {text!r}", where=option, hint=f"Write {option} 2, or {option} 1,2")
    return tuple(dict.fromkeys(int(p) for p in parts))


def _numbers(text: str) -> np.ndarray:
    parts = text.split(",")
    try:
        values = (
            [int(p) for p in parts] if all(p.strip().lstrip("+-").isdigit() for p in parts) else [*map(float, parts)]
        )
    except ValueError:
        raise BadInput(
            f"{text!r} is neither a number nor a list of numbers",
            where="--bind",
            hint="For an array write --bind NAME=@file.npy",
        ) from None
    array = np.array(values, np.int64 if isinstance(values[0], int) else np.float32)
    return array if len(parts) > 1 else array.reshape(())


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"cannot be read as an array: {error}", where=str(path)) from error
