"""Constant elements in generated C."""

from __future__ import annotations

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.ir import DType

__all__ = ["stored_literal"]


def stored_literal(value: object, dtype: DType) -> str:
    """C text of ``value`` as it is stored: fp16 as its bits, everything else as a number."""
    if dtype is DType.F16:
        return str(int(np.float16(value).view(np.uint16)))  # type: ignore[arg-type]
    return literal(value, dtype)
