"""docs/compression.md: its blocks run in their order, its tables are those of the results."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compression.md"
MEASURED = ROOT / "benchmarks" / "compression"


def test_tables_are_those_of_the_results() -> None:
    page = runpy.run_path(str(MEASURED / "page.py"))
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table ([\w-]+) -->", text)) == set(page["TABLES"])
    made = page["filled"](text, json.loads((MEASURED / "results.json").read_text(encoding="utf-8")))
    assert made == text, "run benchmarks/compression/page.py"


@pytest.mark.torch
@pytest.mark.toolchain
def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"images": torch.rand(64, 1, 28, 28), "labels": torch.arange(64) % 10}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    pruned, factored = names["pruned"], names["factored"]
    assert pruned.after.macs <= 0.5 * pruned.before.macs
    assert factored.layers
    assert (tmp_path / "student.edgesmith" / "manifest.json").is_file()
