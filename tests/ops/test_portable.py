"""Every structural operator's portable C on all its cases, under sanitizers and in odd layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith.ir import TensorType
from edgesmith.ops import OPS, Elementwise, Operator
from edgesmith.ops.base import Case

from .portable_c import check_portable
from .tolerance import tolerance

STRUCTURAL = [name for name, op in OPS.items() if not issubclass(op, Elementwise) and any(True for _ in op.cases())]


def _operands(case: Case, seed: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)

    def value(type: TensorType) -> np.ndarray:
        if type.dtype.is_float:
            return rng.standard_normal(type.shape).astype(type.dtype.numpy)
        return rng.integers(0, 2 if type.dtype.name == "BOOL" else 100, type.shape).astype(type.dtype.numpy)

    return [value(i) if isinstance(i, TensorType) else i for i in case.inputs]


@pytest.mark.toolchain
@pytest.mark.parametrize("name", STRUCTURAL)
def test_portable_c_equals_the_reference(name: str, tmp_path: Path) -> None:
    uses: list[tuple[Operator, list[np.ndarray | None]]] = []
    for seed, case in enumerate(OPS[name].cases()):
        uses += [(case.op, _operands(case, seed))] * 2
    check_portable(uses, tmp_path, bound=tolerance)
