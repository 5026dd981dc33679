"""Vector loads and stores of operands, by element type."""

from __future__ import annotations

from edgesmith.c.primitives import NARROW
from edgesmith.ir import DType

__all__ = ["VECTOR_TYPES", "load", "repeat", "store"]

VECTOR_TYPES = frozenset((DType.F32, DType.I32, *NARROW))
"""Types of which the vector layer loads and stores ``ES_LANES`` elements at once."""


def _suffix(dtype: DType) -> str:
    return "" if dtype is DType.F32 else f"_{dtype}"


def load(dtype: DType, address: str, lanes: int | str | None = None) -> str:
    """C text of the vector at an address; narrow integers come as floats, i32 as integers.

    Args:
        lanes: how many elements to load, when not all.
    """
    if lanes is None:
        return f"es_load{_suffix(dtype)}({address})"
    return f"es_load{_suffix(dtype)}_n({address}, {lanes})"


def store(dtype: DType, address: str, value: str, lanes: int | str | None = None) -> str:
    """C statement that stores a vector of such lanes as ``load`` gives."""
    if lanes is None:
        return f"es_store{_suffix(dtype)}({address}, {value});"
    return f"es_store{_suffix(dtype)}_n({address}, {value}, {lanes});"


def repeat(dtype: DType, element: str) -> str:
    """C text of the vector with one element, given as an lvalue, in all lanes."""
    if dtype is DType.F16:
        return f"es_repeat_f16(&{element})"
    if dtype is DType.BF16:
        return f"es_set1(es_widen_bf16({element}))"
    if dtype is DType.I32:
        return f"es_set1_i32({element})"
    return f"es_set1({element})" if dtype is DType.F32 else f"es_set1((float){element})"
