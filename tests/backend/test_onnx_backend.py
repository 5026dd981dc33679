"""The ONNX backend node tests of every registered operator, in one compiled program for each group of operators.

The terminal summary shows the numbers by operator; ``python -m tests.backend`` prints them without pytest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from .cases import node_cases
from .running import Status, run_cases
from .unsupported import CONTRADICTED, UNSUPPORTED

pytestmark = pytest.mark.toolchain

GROUP = 24
OPERATORS = list(node_cases())
GROUPS = [OPERATORS[i : i + GROUP] for i in range(0, len(OPERATORS), GROUP)]


def _reason(name: str, patterns: dict[str, str]) -> str | None:
    return next((why for pattern, why in patterns.items() if re.fullmatch(pattern, name)), None)


@pytest.mark.parametrize("operators", [pytest.param(g, id=f"{g[0]}-{g[-1]}") for g in GROUPS])
def test_node_cases(operators: list[str], record_property: Callable[[str, object], None]) -> None:
    outcomes = run_cases([case for op in operators for case in node_cases()[op]])
    record_property("node_cases", [(o.case.op_type, o.status.value) for o in outcomes])
    problems = []
    for o in outcomes:
        name = o.case.name
        refused, contradicted = _reason(name, UNSUPPORTED), _reason(name, CONTRADICTED)
        expected = {
            Status.UNSUPPORTED: refused is not None,
            Status.AS_ORACLE: contradicted is not None,
            Status.FAILED: False,
        }.get(o.status, refused is None and contradicted is None)
        if not expected:
            problems.append(f"{name}: {o.status.value}: {o.why}"[:600])
    assert not problems, f"{len(problems)} of {len(outcomes)}\n" + "\n".join(problems)


@pytest.mark.parametrize("pattern", [*UNSUPPORTED, *CONTRADICTED])
def test_lists_have_no_stale_entries(pattern: str) -> None:
    names = [case.name for cases in node_cases().values() for case in cases]
    assert any(re.fullmatch(pattern, name) for name in names), f"{pattern} matches no case"
