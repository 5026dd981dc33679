"""Element types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from edgesmith.ir import DType


@pytest.mark.parametrize("dtype", DType)
def test_limits_are_those_of_numpy(dtype: DType) -> None:
    if dtype is DType.BOOL:
        assert dtype.limits == (0, 1)
    elif dtype.is_float:
        assert dtype.lowest == float(ml_dtypes.finfo(dtype.numpy).min)
    else:
        info = np.iinfo(dtype.numpy)
        assert dtype.limits == (info.min, info.max) and dtype.lowest == info.min


def test_a_type_is_found_by_its_numpy_type() -> None:
    assert all(DType.of(dtype.numpy) is dtype for dtype in DType)
    with pytest.raises(KeyError):
        DType.of(np.complex64)
