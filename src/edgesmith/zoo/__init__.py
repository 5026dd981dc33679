"""Published light networks as descriptions that yield ONNX models with seeded weights; no download, no PyTorch.

The weights are random, but scaled so that activations stay in range and outputs depend on the input, as after training.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

import onnx

from edgesmith.errors import BadInput, EdgesmithError
from edgesmith.zoo.builder import Builder
from edgesmith.zoo.network import NETWORKS, Network, Published, Variant

__all__ = ["Network", "Published", "build", "describe", "names", "save"]


def names() -> tuple[str, ...]:
    """Every network that ``build`` knows, sorted."""
    return tuple(sorted(NETWORKS))


def describe(name: str) -> Network:
    """The description of a network.

    Raises:
        EdgesmithError: no network has this name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    close = difflib.get_close_matches(name, names(), n=3, cutoff=0.5) or names()
    raise EdgesmithError("no such network", where=f"zoo network {name!r}", hint=f"Known: {', '.join(close)}.")


def build(
    name: str,
    *,
    seed: int = 0,
    batch: int = 1,
    image_size: int | None = None,
    classes: int | None = None,
    width: float = 1.0,
) -> onnx.ModelProto:
    """Build a network: float32, NCHW input "input" of shape (batch, channels, height, width).

    Args:
        name: one of ``names()``.
        seed: decides the weights; the same arguments give the same bytes. 0 or more.
        batch: images per run.
        image_size: height and width in pixels, or the height of pictures that are not square; None for the published
            size.
        classes: number of classes; None for the published number.
        width: width multiplier, one of the published ones.

    Raises:
        EdgesmithError: the name is unknown.
        BadInput: an argument does not suit the network.
    """
    network = describe(name)
    image_size = network.image_size if image_size is None else image_size
    classes = network.classes if classes is None else classes
    for argument, value, least in (("seed", seed, 0), ("batch", batch, 1), ("image_size", image_size, 1)):
        _require(value >= least, name, f"{argument} is {value}", f"Use {least} or more.")
    _require(classes >= 1, name, f"classes is {classes}", "Use 1 or more.")
    known = ", ".join(map(str, network.widths))
    _require(width in network.widths, name, f"width {width} is not published", f"Known: {known}.")

    builder = Builder(name, seed)
    x = builder.input("input", (batch, network.channels, *network.size(image_size)), network.probe_size)
    return builder.model(network.describe(builder, x, Variant(classes, width)))


def _require(holds: bool, name: str, why: str, hint: str) -> None:
    if not holds:
        raise BadInput(why, where=f"zoo network {name!r}", hint=hint)


def save(
    name: str,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    batch: int = 1,
    image_size: int | None = None,
    classes: int | None = None,
    width: float = 1.0,
) -> None:
    """Build a network and write it to ``path``; the arguments are ``build``'s. The file appears whole or not at all.

    Raises:
        EdgesmithError: as ``build``, or the file cannot be written.
    """
    model = build(name, seed=seed, batch=batch, image_size=image_size, classes=classes, width=width)
    target = Path(path)
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(model.SerializeToString())
            os.chmod(part, 0o644)
            os.replace(part, target)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise EdgesmithError(
            f"cannot write: {error.strerror}", where=str(target), hint="Name a file in a folder that exists."
        ) from error
