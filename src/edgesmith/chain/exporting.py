"""A module's ONNX model, and whether it is the same function."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.compress.training import answer
from edgesmith.errors import BadInput
from edgesmith.frontend.torch import export
from edgesmith.oracle import Oracle

__all__ = ["PICTURES", "agreement", "exported"]

PICTURES = 16
"""Pictures for which a model is compared with its module."""
FAR = 1e-3
"""Of the largest output: thousands of times what sums of floats differ by in another order."""


def exported(module: Any, pictures: Any, path: Path) -> None:
    """Write a module as ONNX for one picture, and compare both.

    Args:
        pictures: tensor (N, C, H, W), normalised; the first is what the module is traced with.

    Raises:
        BadInput: the model gives other outputs than the module, which decides by the values that it sees.
        ModelError: PyTorch cannot export the module.
    """
    module = copy.deepcopy(module).cpu().eval()
    export(module, pictures[:1], path, traced=True)
    differing = sum(
        not np.allclose(found, wanted, rtol=0, atol=FAR * np.abs(wanted).max(), equal_nan=True)
        for found, wanted in _outputs(path, module, pictures)
    )
    if differing:
        raise BadInput(
            f"its ONNX model gives other outputs than the network for {differing} of {len(pictures)} pictures",
            where=type(module).__name__,
            hint="forward decides by values (if, for, .item(), random numbers), and a model has one of the ways alone; "
            "compute all of them and choose by torch.where",
        )


def agreement(path: Path, module: Any, pictures: Any) -> str:
    """A line about how often a model tells the class that its module does, of which roundings may decide.

    Args:
        pictures: tensor (N, C, H, W), normalised.
    """
    same = sum(int(found.argmax()) == int(wanted.argmax()) for found, wanted in _outputs(path, module, pictures))
    return f"the integer model tells the class that the trained module does for {same} of {len(pictures)} pictures"


def _outputs(path: Path, module: Any, pictures: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The model's first output for each picture, and the module's."""
    oracle = Oracle(str(path))
    for picture in pictures.split(1):
        found = oracle.run({oracle.inputs[0]: picture.numpy()}, oracle.outputs[:1])
        yield found[oracle.outputs[0]], answer(module, picture).numpy()
