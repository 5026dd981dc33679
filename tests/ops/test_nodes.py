"""Random nodes: numpy references against ONNX Runtime, and portable C against the references."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .nodes import NODES
from .portable_c import check_portable
from .single_node import SingleNode, check_reference

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("kind", NODES)
def test_reference_equals_onnx_runtime(kind: str) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
    @given(NODES[kind])
    def check(case: SingleNode) -> None:
        check_reference(case)

    check()


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", NODES)
def test_portable_c_equals_reference(kind: str) -> None:
    @settings(max_examples=2, deadline=None, suppress_health_check=QUIET, database=None)
    @given(st.lists(NODES[kind], min_size=12, max_size=12))
    def check(cases: list[SingleNode]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check_portable([(case.op, case.operands) for case in cases], Path(folder))

    check()
