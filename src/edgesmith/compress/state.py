"""State dicts in files: written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesmith.atomic import replacing_file
from edgesmith.errors import BadInput, next_step

__all__ = ["load_state", "save_state", "write_state"]

HINT = "torch.save(module.state_dict(), file)"
WHOLE = "where you trust the file: torch.load(file, weights_only=False), then torch.save of its state dict alone"
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training scripts keep the state dict in a checkpoint."""

PREFIXES = ("_orig_mod.", "module.")
"""Of names in state dicts of modules that were compiled or ran in parallel."""


def save_state(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers, from whatever device."""
    state = {
        name: value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else value
        for name, value in module.state_dict().items()
    }
    write_state(state, path)


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """``torch.save``, with the file replaced as a whole.

    Raises:
        OSError: it cannot be written; PyTorch's own error about that says neither where nor why.
    """
    with replacing_file(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, OSError):
                cause = cause.__context__
            if isinstance(cause, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise


def load_state(module: nn.Module, path: Path) -> None:
    """Put what a file holds into a module of the same names and shapes.

    Raises:
        BadInput: the file cannot be read, holds no state dict, or one of another module.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), hint=next_step(error)) from error
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise BadInput("no state dict: torch.save did not write it", where=str(path), hint=HINT) from error
        why = "no state dict: it holds a whole module or other objects, which cannot be read without executing code"
        raise BadInput(why, where=str(path), hint=WHOLE) from error
    except (RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        why = "it is empty" if not path.stat().st_size else "it is damaged, or torch.save did not write it"
        raise BadInput(f"no state dict: {why}", where=str(path), hint=HINT) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    own = module.state_dict()
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) or _is_extra(k) for k, v in state.items()):
        held = f"a dict of {', '.join(map(str, list(state)[:6]))}" if isinstance(state, dict) else type(state).__name__
        hint = f"{HINT}; in a dict, under {' or '.join(WRAPPERS)}"
        raise BadInput(f"holds no state dict, but {held}", where=str(path), hint=hint)
    for prefix in PREFIXES:
        if not any(name.startswith(prefix) for name in own):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadInput(f"is of another network: {_differences(own, state) or error}", where=str(path)) from error


def _differences(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """How the names and shapes of a module differ from those of a file, with an example of each kind."""
    both = [n for n, v in own.items() if isinstance(v, torch.Tensor) and isinstance(given.get(n), torch.Tensor)]
    shapes = [(n, tuple(given[n].shape), tuple(own[n].shape)) for n in both]
    wrong = [f"{n} {there} instead of {here}" for n, there, here in shapes if there != here]
    lacks, unknown = [n for n in own if n not in given], [n for n in given if n not in own]
    kinds = ((lacks, "not in the file"), (unknown, "not in the network"), (wrong, "of another shape"))
    return "; ".join(f"{len(names)} {what}, such as {names[0]}" for names, what in kinds if names)


def _is_extra(name: str) -> bool:
    """Whether it is what ``Module.get_extra_state`` gave, which may be anything."""
    return str(name).rpartition(".")[2] == "_extra_state"
