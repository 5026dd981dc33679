"""Items of calibration data as rows of a model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.ir import TensorType

__all__ = ["Arrays", "Inputs", "Item", "assigned", "checked", "extent", "named", "slices"]

Arrays = Mapping[str, np.ndarray]
Inputs = Mapping[str, TensorType]
Item = tuple[str, Arrays]
"""Where it comes from, for messages, and inputs by name."""


def assigned(where: str, given: Iterable[str], inputs: Inputs) -> dict[str, str]:
    """For each input the name that it has in the data; a single one may have any.

    Raises:
        BadInput: an input has no data.
    """
    names = list(given)
    if len(names) == len(inputs) == 1:
        return dict(zip(inputs, names, strict=True))
    missing = [v for v in inputs if v not in names]
    if missing:
        raise BadInput(f"no array for input {missing[0]!r}", where=where, hint=f"it has {', '.join(names) or 'none'}")
    return {v: v for v in inputs}


def named(where: str, item: object, inputs: Inputs) -> dict[str, np.ndarray]:
    """An array, a tuple of arrays, or a dict of them as arrays by the names of inputs.

    Raises:
        BadInput: too few or too many arrays.
    """
    if isinstance(item, Mapping):
        return {v: np.asanyarray(item[k]) for v, k in assigned(where, map(str, item), inputs).items()}
    parts = item if isinstance(item, tuple) else (item,)
    if len(parts) != len(inputs):
        raise BadInput(f"{len(parts)} arrays for {len(inputs)} inputs ({', '.join(inputs)})", where=where)
    return {v: np.asanyarray(part) for v, part in zip(inputs, parts, strict=True)}


def slices(where: str, arrays: Arrays, inputs: Inputs) -> Iterator[Item]:
    """Arrays along their first axis: parts that make one run each."""
    stacks = {v: a[None] if a.ndim < max(inputs[v].rank, 1) else a for v, a in arrays.items()}
    for i in range(max(_parts(a, inputs[v]) for v, a in stacks.items())):
        part = {}
        for value, stack in stacks.items():
            if i < _parts(stack, inputs[value]):
                rows = extent(inputs[value])
                part[value] = stack[i * rows : (i + 1) * rows] if stack.ndim == inputs[value].rank else stack[i]
        yield f"{where}, sample {i}", part


def _parts(stack: np.ndarray, kind: TensorType) -> int:
    """Runs that an array whose first axis counts rows or runs is enough for."""
    return -(-int(stack.shape[0]) // extent(kind)) if stack.ndim == kind.rank else int(stack.shape[0])


def checked(where: str, item: Arrays, inputs: Inputs) -> dict[str, np.ndarray]:
    """The rows (leading axis) that an item adds to each input."""
    found = {}
    for name, given in item.items():
        kind = inputs[name]
        array = np.asarray(given)
        if array.dtype == np.float64 and kind.dtype.is_float:
            array = array.astype(kind.dtype.numpy)
        place = f"{where}: input {name!r}"
        if array.dtype != kind.dtype.numpy:
            raise BadInput(f"elements are {array.dtype}, the model takes {kind.dtype.numpy}", where=place)
        if array.shape == kind.shape[1:] or not kind.rank:
            array = array[None]
        if array.shape[1:] != (kind.shape[1:] if kind.rank else ()) or array.ndim != max(kind.rank, 1):
            shown = "x".join(map(str, np.shape(given))) or "scalar"
            raise BadInput(
                f"shape is {shown}, the model takes {'x'.join(map(str, kind.shape)) or 'a scalar'}",
                where=place,
                hint="any number of samples may lie along the first axis",
            )
        if kind.dtype.is_float and not np.isfinite(array).all():
            what = "NaN" if np.isnan(array).any() else "infinite"
            raise BadInput(f"an element is {what}", where=place, hint="leave the sample out, or mend it")
        found[name] = array
    return found


def extent(kind: TensorType) -> int:
    """Rows of one run."""
    return max(kind.shape[0], 1) if kind.rank else 1
