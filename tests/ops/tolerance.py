"""How far two evaluations of one operator may differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops import Operator

__all__ = ["tolerance"]


def tolerance(op: Operator, operands: Sequence[np.ndarray | None], dtype: DType) -> float:
    """4 u sqrt(n) of the largest result for each evaluation, n the number of terms; 0 where nothing is computed.

    Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019,
    theorem 3.1; for n = 1 it is 4 ULP of the largest result, which covers the functions of mathfunctions.py.
    """
    types = [None if a is None else TensorType.of(a) for a in operands]
    results = op.reference(*operands)
    if not dtype.is_float or op.cost(types, [TensorType.of(np.asarray(r)) for r in results]) == Cost():
        return 0.0
    finite = [float(np.max(np.abs(r[np.isfinite(r)]), initial=0)) for r in results if r.dtype.kind == "f"]
    floor = float(np.finfo(dtype.numpy).tiny)
    return 8 * dtype.unit_roundoff * math.sqrt(op.reduction_length(types)) * max(finite, default=0.0) + floor
