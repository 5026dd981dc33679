"""How much rounding is allowed to one program; ``verify.tolerance`` and ``Kernel.rounding`` share it."""

from __future__ import annotations

import numpy as np

from edgesmith.ir import DType

__all__ = ["CONFIDENCE", "gamma"]

CONFIDENCE = 4.0
"""Standard deviations of a sum's rounding error that are allowed to each program (lambda of Higham and Mary)."""


def gamma(n: int, dtype: DType) -> float:
    """Relative rounding error allowed to one program for a sum of n products, in units of ``sum |a||b|``.

    The smaller of the worst case and the probable one (Higham and Mary, "A new approach to probabilistic rounding error
    analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 3.1).
    """
    return float(min(n, CONFIDENCE * np.sqrt(n)) * dtype.unit_roundoff)
