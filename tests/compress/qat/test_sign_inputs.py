"""Which values can be negative, by the operations that compute them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from edgesmith.compress.qat.sign_inputs import is_never_negative  # noqa: E402
from edgesmith.frontend.onnx import read  # noqa: E402
from edgesmith.frontend.torch import export  # noqa: E402

pytestmark = pytest.mark.torch


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "never"),
    [
        (functional.relu, True),
        (functional.relu6, True),
        (functional.hardtanh, False),
        (torch.sigmoid, True),
        (torch.tanh, False),
        (lambda x: x, False),
        (lambda x: functional.max_pool2d(functional.relu(x), 2), True),
        (lambda x: functional.max_pool2d(x, 2), False),
        (lambda x: functional.relu(x) + x.abs(), True),
        (lambda x: functional.relu(x) + x, False),
        (lambda x: functional.relu(x) * 2 + 1, True),
        (lambda x: functional.relu(x) - 1, False),
        (lambda x: functional.relu(x).flatten(1).mean(1, keepdim=True), True),
        (lambda x: torch.cat([functional.relu(x), x.sigmoid()], 1).transpose(1, 2), True),
        (lambda x: torch.cat([functional.relu(x), x], 1), False),
        (lambda x: torch.maximum(x, functional.relu(x)), True),
        (lambda x: torch.minimum(x, functional.relu(x)), False),
    ],
)
def test_signs_by_operation(function: Callable[[Tensor], Tensor], never: bool, tmp_path: Path) -> None:
    export(_Function(function), torch.zeros(1, 2, 4, 4), tmp_path / "model.onnx", traced=True)
    graph = read(tmp_path / "model.onnx")
    assert is_never_negative(graph, graph.outputs[0]) is never
