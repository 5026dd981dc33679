"""Modules that recipes name: of the zoo, or of the user's own files."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesmith.chain.recipe import ZOO, ModelSpec
from edgesmith.compress.state import load_state
from edgesmith.compress.training.seeds import generators_kept, seed_everything
from edgesmith.errors import BadInput, EdgesmithError
from edgesmith.zoo.torch import module as zoo_module

__all__ = ["built", "digest"]


def built(spec: ModelSpec, path: Callable[[str], Path], classes: int, size: tuple[int, int, int], seed: int) -> Any:
    """The module, with the weights of its checkpoint where there is one.

    Args:
        path: gives the file that a text of the recipe means.
        classes, size: of the data; the zoo's networks are built for them unless the options say otherwise.
        seed: of first weights; of the zoo's networks where the options say none.

    Raises:
        BadInput: there is no such network, file or function, or it refuses its options.
    """
    with generators_kept():
        seed_everything(seed)
        module = _made(spec, path, classes, size, seed)
    if spec.checkpoint:
        load_state(module, path(spec.checkpoint))
    return module


def _made(spec: ModelSpec, path: Callable[[str], Path], classes: int, size: tuple[int, int, int], seed: int) -> Any:
    if spec.network.startswith(ZOO):
        options = {"classes": classes, "image_size": size[1], "channels": size[0], "seed": seed, **spec.options}
        return _called(lambda: zoo_module(spec.network.removeprefix(ZOO), **options), spec)
    file, _, name = spec.network.rpartition(":")
    module = _called(lambda: _function(path(file), name)(**spec.options), spec)
    if not hasattr(module, "state_dict"):
        raise BadInput(f"gives a {type(module).__name__}, no torch.nn.Module", where=spec.network)
    return module


def digest(spec: ModelSpec, path: Callable[[str], Path]) -> str:
    """Of the description, the file of the function and the checkpoint."""
    sha = hashlib.sha256(json.dumps([spec.network, dict(spec.options)], sort_keys=True, default=str).encode())
    files = [] if spec.network.startswith(ZOO) else [spec.network.rpartition(":")[0]]
    for name in (*files, *filter(None, [spec.checkpoint])):
        try:
            sha.update(path(name).read_bytes())
        except OSError as error:
            raise BadInput(f"cannot be read: {error.strerror}", where=str(path(name))) from error
    return sha.hexdigest()


def _function(file: Path, name: str) -> Callable[..., Any]:
    title = f"_edgesmith_recipe_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(title, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise BadInput("there is no such Python file", where=str(file))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[title] = loaded
    spec.loader.exec_module(loaded)
    found = getattr(loaded, name, None)
    if not callable(found):
        known = [n for n, v in vars(loaded).items() if inspect.isfunction(v) and v.__module__ == title]
        raise BadInput(f"has no function {name!r}", where=str(file), hint=f"it has: {', '.join(known) or 'none'}")
    return found  # type: ignore[no-any-return]


def _called(make: Callable[[], Any], spec: ModelSpec) -> Any:
    try:
        return make()
    except EdgesmithError:
        raise
    except Exception as error:  # whatever the user's file does
        raise BadInput(f"{type(error).__name__}: {error}", where=spec.label, hint="check its options") from error
