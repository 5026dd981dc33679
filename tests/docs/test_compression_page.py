"""The blocks of docs/compression.md run in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")
PAGE = Path(__file__).parents[2] / "docs" / "compression.md"


@pytest.mark.torch
@pytest.mark.toolchain
def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
