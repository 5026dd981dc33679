"""What ``make demo`` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.toolchain
def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("EDGESMITH_CACHE_DIR", str(tmp_path / "cache"))
    import demo

    try:
        monkeypatch.setattr(demo, "NETWORK", "squeezenet-1.1")
        monkeypatch.setattr(demo.digits, "OUTPUT", tmp_path / "out")
        demo.main()
    finally:
        for name in [n for n in sys.modules if n == "demo" or n.partition(".")[0] == "digits"]:
            del sys.modules[name]
    printed = capsys.readouterr().out
    assert "same prediction           360 of 360" in printed
    assert "ONNX Runtime; interleaved rounds" in printed
