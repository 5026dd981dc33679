"""What stays in floats for accuracy's sake has to fit into the budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from chain.conftest import torch
from edgesmith.chain.budget import Limit
from edgesmith.chain.stages import quantise
from edgesmith.chain.stages.quantise import Quantise
from edgesmith.frontend.torch import export

pytestmark = pytest.mark.torch

KB = 100.0


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """A network whose input is told apart best in floats, and whose second layer makes up most of the work."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d
    module = torch.nn.Sequential(conv(1, 8, 3), torch.nn.ReLU(), conv(8, 64, 3), torch.nn.ReLU(), conv(64, 64, 3))
    export(module, torch.zeros(1, 1, 12, 12), tmp_path / "model.onnx", traced=True)
    pictures = np.random.default_rng(0).standard_normal((16, 1, 12, 12)).astype(np.float32)
    return SimpleNamespace(
        folder=tmp_path,
        before=[SimpleNamespace(onnx=tmp_path / "model.onnx")],
        data=SimpleNamespace(calibration=pictures),
        limits=(Limit("size_kb", KB, "kB"),),
        progress=lambda *_: None,
    )


def float_products(path: Path) -> int:
    """Convolutions that read weights in floats."""
    graph = onnx.load(path).graph
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return sum(n.input[1] not in dequantized for n in graph.node if n.op_type == "Conv")


def sizes(monkeypatch: pytest.MonkeyPatch, found: Sequence[float]) -> list[int]:
    """Programs weigh so much, one after the other; gives how many products of each are in floats."""
    seen: list[int] = []

    def figures(work: Any, limits: Any, model: Path, folder: Path) -> dict[str, float]:
        seen.append(float_products(model))
        return {"size_kb": found[len(seen) - 1]}

    monkeypatch.setattr(quantise, "program_figures", figures)
    return seen


def test_values_stay_in_floats_within_the_budget(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes(monkeypatch, [KB])
    outcome = Quantise().run(work)
    assert seen[0] > 0 and float_products(outcome.onnx) == seen[0]
    assert not any("for the budget" in note for note in outcome.notes)


def test_fewer_values_stay_in_floats_where_the_program_is_too_large(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes(monkeypatch, [KB + 1] * 3)
    outcome = Quantise().run(work)
    assert seen == sorted(seen, reverse=True)
    assert float_products(outcome.onnx) == 0
    assert outcome.notes[0] == "for the budget, at most 0% of the work stays in floats instead of 25%"


def test_without_a_limit_nothing_is_compiled(work: Any) -> None:
    work.limits = ()
    work.bench = None
    assert Quantise().run(work).onnx


def test_layers_that_stay_in_floats_are_told(work: Any) -> None:
    (note,) = Quantise(to="int4", recovery=()).run(work).notes
    assert note.startswith("1 of 3 layers stay in floats, such as ")
    assert note.endswith("its weights are few")


def test_only_a_method_that_keeps_floats_depends_on_the_budget() -> None:
    assert Quantise().uses_budget and not Quantise().needs_budget
    assert not Quantise(recovery=("gptq",)).uses_budget
