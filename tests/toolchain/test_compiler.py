"""Calls of compilers."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith import knobs
from edgesmith.errors import CompilerFailed
from edgesmith.toolchain import zig

pytestmark = pytest.mark.toolchain


@pytest.mark.parametrize("source", ["int f(int x) { return x + 1; }\n", "int f(\n"])
def test_the_compiler_keeps_no_objects(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.CACHE_DIR.name, str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    (work / "f.c").write_text(source)
    made = {"f.c"}
    try:
        zig().run(["-c", "f.c", "-o", "f.o"], cwd=work)
        made.add("f.o")
    except CompilerFailed as error:
        assert "f.c:1" in error.why
    assert {p.name for p in work.iterdir()} == made
    assert not list((tmp_path / "cache").rglob("*.o"))
