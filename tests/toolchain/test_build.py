"""Which files become libraries, and which the executable."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgesmith.target import parse
from edgesmith.toolchain import build, zig

pytestmark = pytest.mark.toolchain


@pytest.mark.parametrize("executable", [True, False])
def test_files_of_the_executable_alone(tmp_path: Path, executable: bool) -> None:
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "answer.c").write_text("int answer(void);\nint answer(void) { return 42; }\n")
    (source / "tool.c").write_text("int answer(void);\nint main(void) { return answer(); }\n")
    if not executable:
        (source / "tool.c").write_text("this is not compiled")
    made = build(
        source, output, "net", parse("portable"), zig(), main=("tool.c",), executable=executable, one_piece=True
    )
    assert made.keys() == {"shared", "static"} | ({"exe"} if executable else set())
    members = subprocess.run([*zig().ar, "t", made["static"]], capture_output=True, text=True, check=True).stdout
    assert members.split() == ["answer.o"]
    if executable:
        assert subprocess.run([made["exe"]]).returncode == 42
