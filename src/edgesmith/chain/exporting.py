"""A module's ONNX model, and whether it is the same function."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.compress.training import answer
from edgesmith.errors import BadInput
from edgesmith.frontend.torch import export
from edgesmith.oracle import Oracle

__all__ = ["PICTURES", "exported"]

PICTURES = 16
"""Pictures for which the model is compared with the module."""
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
    oracle = Oracle(str(path))
    differing = 0
    for picture in pictures.split(1):
        found = oracle.run({oracle.inputs[0]: picture.numpy()}, oracle.outputs[:1])[oracle.outputs[0]]
        wanted = answer(module, picture).numpy()
        differing += not np.allclose(found, wanted, rtol=0, atol=FAR * np.abs(wanted).max(), equal_nan=True)
    if differing:
        raise BadInput(
            f"its ONNX model gives other outputs than the network for {differing} of {len(pictures)} pictures",
            where=type(module).__name__,
            hint="forward decides by values (if, for, .item(), random numbers), and a model has one of the ways alone; "
            "compute all of them and choose by torch.where",
        )
