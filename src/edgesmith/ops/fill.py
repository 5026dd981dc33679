"""Constant elements in generated C."""

from __future__ import annotations

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.ir import DType

__all__ = ["stored_literal"]


def stored_literal(value: object, dtype: DType) -> str:
    """C text of ``value`` as it is stored: fp16 and bf16 as their bits, everything else as a number."""
    if dtype in (DType.F16, DType.BF16):
        return str(int(np.asarray(value, dtype.numpy).view(np.uint16)))
    return literal(value, dtype)
