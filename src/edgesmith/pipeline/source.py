"""The model as the caller gives it: read, checked, and run by the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from edgesmith.errors import BadInput
from edgesmith.frontend.normalize import checked_shapes, normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph
from edgesmith.oracle import Oracle, half_precision

__all__ = ["Arrays", "Model", "checked_arrays", "digests", "oracle_of", "read", "roundoff_of", "sorted_shapes"]

Arrays = Mapping[str, np.ndarray]
Model = str | Path | onnx.ModelProto


def read(model: Model, shapes: Mapping[str, Sequence[int]] | None, fixed: Arrays) -> tuple[Graph, float]:
    """The graph of a model, and the unit roundoff of the model where that is coarser than the graph's."""
    clean = normalize(model, shapes=shapes, bindings=fixed)
    return bind(clean), roundoff_of(clean)


def roundoff_of(model: onnx.ModelProto) -> float:
    return max((DType(number).unit_roundoff for number in half_precision(model)), default=0.0)


def oracle_of(model: Model, fixed: Arrays, graph: Graph) -> Oracle:
    """The model in ONNX Runtime, a quantised one as it is written: optimised, it sums products of bytes in 16 bits on
    processors without VNNI, which saturate."""
    quantised = any(n.op.name == "QuantizeLinear" for n in graph.nodes)
    return Oracle(_runnable(model), fixed, optimized=not quantised)


def _runnable(model: Model) -> str | onnx.ModelProto:
    return str(model) if isinstance(model, str | Path) else model


def sorted_shapes(shapes: Mapping[str, Sequence[int]] | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted((name, tuple(shape)) for name, shape in checked_shapes(shapes or {}).items()))


def checked_arrays(arrays: Arrays | None) -> dict[str, np.ndarray]:
    found = {}
    for name, value in (arrays or {}).items():
        try:
            found[name] = np.asarray(value)
        except ValueError as error:
            raise BadInput(f"not an array: {error}", where=f"input {name!r}") from error
    return found


def digests(arrays: Arrays) -> tuple[tuple[str, str], ...]:
    def digest(a: np.ndarray) -> str:
        return hashlib.sha256(f"{a.dtype}{a.shape}".encode() + a.tobytes()).hexdigest()

    return tuple(sorted((name, digest(a)) for name, a in arrays.items()))
