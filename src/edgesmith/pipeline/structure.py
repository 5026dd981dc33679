"""What of a model decides how fast its program is: everything but the values of its large weights."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["structure_digest"]

SMALL = 64
"""Constants of fewer elements count by value: bounds, axes, slopes."""
FEW_VALUES = 256
"""Weights of at most so many distinct values may be stored, or computed with, in fewer bits."""
PROBE = 4096


def structure_digest(model: onnx.ModelProto) -> str:
    """SHA-256 of a model in which large float weights stand by their traits alone.

    Two models of one digest get programs of the same kernels, and so of the same speed: training changes the values of
    weights but not their shapes, which of them are zero, or how many bits hold them.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    traits = []
    for tensor in bare.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype in (np.float32, np.float64) and array.size >= SMALL:
            traits.append(f"{tensor.name} {array.dtype} {array.shape} {_traits(array)}")
            tensor.Clear()
    data = bare.SerializeToString(deterministic=True)
    return hashlib.sha256(b"\0".join((data, *(t.encode() for t in traits)))).hexdigest()


def _traits(array: np.ndarray) -> str:
    single = array.astype(np.float32)
    zero = single == 0
    pattern = hashlib.sha256(np.packbits(zero).tobytes()).hexdigest() if zero.any() else "dense"
    with np.errstate(over="ignore"):
        half = bool((single.astype(np.float16).astype(np.float32) == single).all())
    brain = bool((single.view(np.uint32) & np.uint32(0xFFFF) == 0).all())
    few = np.unique(single.ravel()[:PROBE]).size <= FEW_VALUES and np.unique(single).size <= FEW_VALUES
    return f"{pattern} {half} {brain} {few and np.unique(single).size}"
