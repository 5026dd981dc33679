"""Modules that recipes name: of the zoo, or of the user's own files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from edgesmith.chain.recipe import ZOO, ModelSpec
from edgesmith.compress.state import load_state
from edgesmith.compress.training import answer
from edgesmith.compress.training.seeds import generators_kept, seed_everything
from edgesmith.errors import BadInput, EdgesmithError
from edgesmith.zoo.torch import module as zoo_module

__all__ = ["built", "digest", "outputs", "own_modules"]

_TITLE = "_edgesmith_recipe_"
"""How names of modules begin that recipes' files become."""
_DEBUG = "'edgesmith --debug optimize ...' shows every line that led there"


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


def outputs(module: Any, spec: ModelSpec, example: Any, classes: int) -> int:
    """How many classes a module tells apart, tried with one picture.

    Args:
        example: (1, C, H, W).
        classes: of the data.

    Raises:
        BadInput: its forward fails, or gives something else than a number for each class.
    """
    try:
        found = answer(module, example)
    except Exception as error:  # whatever the user's network does
        shape = "x".join(map(str, example.shape[1:]))
        hint = f"pictures are {shape} (channels, height, width), by size and channels of [data]; {_DEBUG}"
        raise BadInput(f"its forward fails: {_told(error)}", where=spec.label, hint=hint) from error
    if found.ndim != 2 or found.shape[0] != 1:
        why = f"gives {tuple(found.shape)} for one picture, not (1, classes)"
        raise BadInput(why, where=spec.label, hint="its first output is to be a number for each class")
    if found.shape[1] < classes:
        why = f"tells {found.shape[1]} classes apart, but the training pictures are of {classes}"
        raise BadInput(why, where=spec.label, hint="build it for as many, by an option of the network in [model]")
    return int(found.shape[1])


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
    """Of the description, the file of the function, those of its neighbours that it imports, and the checkpoint."""
    sha = hashlib.sha256(json.dumps([spec.network, dict(spec.options)], sort_keys=True, default=str).encode())
    files = [] if spec.network.startswith(ZOO) else _imported(path(spec.network.rpartition(":")[0]))
    for file in (*files, *(path(name) for name in filter(None, [spec.checkpoint]))):
        try:
            sha.update(file.read_bytes())
        except OSError as error:
            raise BadInput(f"cannot be read: {error.strerror}", where=str(file)) from error
    return sha.hexdigest()


def own_modules() -> list[ModuleType]:
    """What recipes' Python files became: modules that no other process can import."""
    return [module for name, module in sys.modules.items() if name.startswith(_TITLE)]


def _imported(file: Path) -> list[Path]:
    """A Python file, and those of its folder that it imports, as far as can be told without executing it."""
    finder = ModuleFinder([str(file.resolve().parent)])
    with suppress(OSError, SyntaxError):  # told when it is executed
        finder.run_script(str(file.resolve()))
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    return [file, *sorted({Path(f) for f in files if f} - {file.resolve()})]


def _function(file: Path, name: str) -> Callable[..., Any]:
    """A function of a file, which is executed once for all networks, and may import its neighbours."""
    if not file.is_file():
        hint = "relative paths start at the recipe's folder"
        raise BadInput("there is no such Python file", where=str(file), hint=hint)
    content = str(file.resolve()).encode() + b"\0" + file.read_bytes()
    title = f"{_TITLE}{hashlib.sha256(content).hexdigest()[:12]}"
    loaded = sys.modules.get(title)
    if loaded is None:
        spec = importlib.util.spec_from_file_location(title, file)
        assert spec is not None and spec.loader is not None
        loaded = sys.modules[title] = importlib.util.module_from_spec(spec)
        if (folder := str(file.resolve().parent)) not in sys.path:
            sys.path.append(folder)
        try:
            spec.loader.exec_module(loaded)
        except BaseException:
            del sys.modules[title]
            raise
    found = getattr(loaded, name, None)
    if not callable(found):
        known = [n for n, v in vars(loaded).items() if callable(v) and getattr(v, "__module__", "") == title]
        raise BadInput(f"has no function {name!r}", where=str(file), hint=f"it has: {', '.join(known) or 'none'}")
    return found  # type: ignore[no-any-return]


def _called(make: Callable[[], Any], spec: ModelSpec) -> Any:
    try:
        return make()
    except EdgesmithError:
        raise
    except Exception as error:  # whatever the user's file does
        refused = isinstance(error, TypeError) and not _lines(error)
        hint = "check its options" if refused else _DEBUG
        raise BadInput(_told(error), where=spec.label, hint=hint) from error


def _told(error: Exception) -> str:
    """What was raised, with the line of the user's file."""
    lines = _lines(error)
    at = f" ({lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{at}"


def _lines(error: Exception) -> list[str]:
    """The lines of recipes' files that an exception came through, outermost first."""
    files = {v.__file__ for k, v in list(sys.modules.items()) if k.startswith(_TITLE)}
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(f.filename).name}, line {f.lineno}" for f in frames if f.filename in files]
