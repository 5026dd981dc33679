"""Options of the test suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgesmith.knobs import TUNING_DB
from two_versions import built

__all__ = ["built"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write generated C anew instead of comparing it")


@pytest.fixture(scope="session", autouse=True)
def own_tuning_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user has tuned does not decide what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TUNING_DB.name, str(tmp_path_factory.mktemp("tuning") / "times.sqlite"))
        yield


@pytest.fixture(scope="module")
def steps_shared() -> Iterator[None]:
    """Steps of any length are shared by all threads, so that small networks exercise them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgesmith.plan.step.LEAST_SHARE_NS", 1e-3)
        yield
