"""Environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith import knobs
from edgesmith.errors import BadInput


@pytest.mark.parametrize("knob", [k for k in knobs.KNOBS if isinstance(k.default, int)], ids=lambda k: k.name)
@pytest.mark.parametrize("text", ["many", "1.5", "-1", " "])
def test_a_malformed_number_is_explained(knob: knobs.Knob[int], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knob.name, text)
    with pytest.raises(BadInput, match=knob.name) as error:
        knob()
    assert text in error.value.why and str(knob.default) in error.value.hint


def test_values_are_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.JOBS.name, "3")
    monkeypatch.setenv(knobs.CACHE_DIR.name, "/somewhere")
    assert knobs.JOBS() == 3 and knobs.CACHE_DIR() == Path("/somewhere")
    monkeypatch.setenv(knobs.JOBS.name, "")
    monkeypatch.delenv(knobs.CACHE_DIR.name)
    assert knobs.JOBS() == knobs.JOBS.default and knobs.CACHE_DIR() == knobs.CACHE_DIR.default


def test_nothing_compiles_with_no_jobs_but_may_keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.JOBS.name, "0")
    monkeypatch.setenv(knobs.CACHE_MB.name, "0")
    assert knobs.CACHE_MB() == 0
    with pytest.raises(BadInput, match="at least 1"):
        knobs.JOBS()
