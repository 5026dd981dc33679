"""Where networks are trained."""

from __future__ import annotations

import torch

from edgesmith.errors import BadInput

__all__ = ["usable"]


def usable(name: str) -> torch.device:
    """The device of a name such as ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        BadInput: PyTorch knows no such device, or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        hint = "cpu, or a GPU for which this PyTorch was built: https://pytorch.org/get-started/locally"
        raise BadInput(f"PyTorch cannot train there: {why}", where=f"device {name}", hint=hint) from error
    return device
