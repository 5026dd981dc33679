"""Options of the test suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write generated C anew instead of comparing it")


@pytest.fixture(scope="module")
def steps_shared() -> Iterator[None]:
    """Steps of any length are shared by all threads, so that small networks exercise them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgesmith.plan.step.LEAST_SHARE_NS", 1e-3)
        yield
