"""State dicts in files: written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn

from edgesmith.atomic import replacing_file
from edgesmith.errors import BadInput, next_step

__all__ = ["load_state", "save_state"]

HINT = "torch.save(module.state_dict(), file)"
WRAPPERS = ("state_dict", "model", "module")
"""Keys under which training scripts keep the state dict in a checkpoint."""

PREFIXES = ("_orig_mod.", "module.")
"""Of names in state dicts of modules that were compiled or ran in parallel."""


def save_state(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers, from whatever device."""
    state = {
        name: value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else value
        for name, value in module.state_dict().items()
    }
    with replacing_file(path) as file:
        torch.save(state, file)


def load_state(module: nn.Module, path: Path) -> None:
    """Put what a file holds into a module of the same names and shapes.

    Raises:
        BadInput: the file cannot be read, holds no state dict, or one of another module.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), hint=next_step(error)) from error
    except (RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        why = "".join(str(error).strip().splitlines()[:1])
        raise BadInput(f"no state dict: {why}", where=str(path), hint=HINT) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    own = module.state_dict().keys()
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) or _is_extra(k) for k, v in state.items()):
        raise BadInput("holds no state dict", where=str(path), hint=HINT)
    for prefix in PREFIXES:
        if not any(name.startswith(prefix) for name in own):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        why = " ".join(line.strip() for line in first[:2])[:300]
        raise BadInput(f"is of another network: {why}", where=str(path)) from error


def _is_extra(name: str) -> bool:
    """Whether it is what ``Module.get_extra_state`` gave, which may be anything."""
    return str(name).rpartition(".")[2] == "_extra_state"
