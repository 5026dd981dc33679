"""Costs of modules: the program that is measured is quantised as it will be in the end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from chain.conftest import torch
from edgesmith.chain.budget import Limit
from edgesmith.chain.costs import Costs
from edgesmith.chain.stages.qat import Qat
from edgesmith.chain.stages.quantise import Quantise
from edgesmith.frontend.torch import export

pytestmark = pytest.mark.torch


class Program(Exception):
    """Ends the measurement where the compiler would begin."""


@pytest.mark.parametrize(
    ("stage", "largest"),
    [(Quantise(recovery=()), 127), (Qat(), 127), (Qat(bits=4), 7), (Qat(weights="twn"), 1)],
    ids=["quantise", "qat", "4 bits", "ternary"],
)
def test_programs_are_quantised_as_the_last_stage_will(stage: Any, largest: int) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
    example = torch.zeros(1, 1, 8, 8)
    calibration = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)

    work: Any = SimpleNamespace(
        predicted=lambda: None,
        export=lambda m, path: export(m, example, path, traced=True),
        recipe=SimpleNamespace(stages=(stage,), precision="int8"),
        data=SimpleNamespace(calibration=calibration),
        progress=lambda *_: None,
    )
    seen = []

    def load(model: Path, output: Path) -> Any:
        seen.append(onnx.load(model))
        raise Program

    work.bench = SimpleNamespace(compiled=load)
    with pytest.raises(Program):
        Costs(work, (Limit("size_kb", 10.0, "kB"),)).measured(module)
    kinds = {n.op_type for n in seen[0].graph.node}
    assert {"QuantizeLinear", "Conv"} <= kinds
    integers = [numpy_helper.to_array(t) for t in seen[0].graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert max(int(np.abs(a.astype(int)).max()) for a in integers if a.ndim == 4) == largest
