"""Training away from the processor, without a machine that has such a device.

PyTorch's ``meta`` device stands in for one: tensors there have shapes and no values, and what mixes them with tensors
of the processor raises as it would with a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgesmith.compress import qat
from edgesmith.compress.distill import Distiller, Hints, SoftLogits
from edgesmith.compress.training import Batches, Callback, Flip, Pictures, RunState, Settings, Shift, fit, usable
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch
ELSEWHERE = "meta"


class Accelerator(TorchDispatchMode):
    """What is read from the device is 1, what is copied from it to the processor is 0."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, aten = kwargs or {}, torch.ops.aten
        source = args[-1] if func is aten.copy_.default else args[0] if args else None
        if not isinstance(source, Tensor) or source.device.type != ELSEWHERE:
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            return torch.ones((), dtype=source.dtype).item()
        if func is aten._to_copy.default and torch.device(kwargs.get("device") or ELSEWHERE).type == "cpu":
            return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        if func is aten.copy_.default and args[0].device.type == "cpu":
            return args[0].zero_()
        return func(*args, **kwargs)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has no types for ``meta``
    yield Accelerator()


@pytest.fixture
def data() -> Batches:
    pixels = torch.randint(0, 255, (64, 1, 12, 12), dtype=torch.uint8)
    return Batches(Pictures(pixels, torch.arange(64) % 4), 16, augment=(Shift(1), Flip()))


def network(width: int = 16) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)),
    )


def test_the_stand_in_refuses_to_mix_devices(accelerator: Accelerator) -> None:
    with accelerator, pytest.raises((RuntimeError, NotImplementedError)):
        network().to(ELSEWHERE)(torch.zeros(1, 1, 12, 12))


def test_a_network_is_trained_evaluated_and_kept(accelerator: Accelerator, data: Batches, tmp_path: Path) -> None:
    module = network()
    with accelerator:
        settings = Settings(epochs=1, ema=0.9, clip=1.0)
        history = fit(
            module, data, settings, validation=data.evaluation(), device=ELSEWHERE, folder=tmp_path, shown=False
        )
    assert history.epochs[-1].step == 4
    assert {p.device.type for p in module.parameters()} == {ELSEWHERE}
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 4 and kept["ema"]


def test_teachers_and_losses_go_with_the_student(accelerator: Accelerator, data: Batches) -> None:
    student, example = network(8), torch.zeros(1, 1, 12, 12)
    with Distiller(network(), student, [SoftLogits(), Hints({"2": "2"})], example=example) as kd, accelerator:
        fit(student, data, Settings(epochs=1), loss=kd, extra=[kd.adapters], device=ELSEWHERE, shown=False)
        assert {p.device.type for p in kd.adapters.parameters()} == {ELSEWHERE}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_bits": 4},
        {"weights": "twn", "weight_bits": 2},
        {"weights": "binary"},
        {"weights": "inq", "weight_bits": 5},
        {"activations": "pact"},
        {"activations": "ema"},
    ],
    ids=str,
)
def test_prepared_modules_go_whole(accelerator: Accelerator, data: Batches, settings: dict[str, Any]) -> None:
    example = torch.randn(1, 1, 12, 12)
    module = qat.prepare(network(), example, qat.Settings(**settings), init=[torch.randn(8, 1, 12, 12)])
    schedule = qat.Schedule(2)

    class Freezing(Callback):
        def on_epoch(self, run: RunState) -> None:
            schedule.on_epoch(run.module, run.epoch + 1)

    with accelerator:
        fit(module, data, Settings(epochs=2), callbacks=[Freezing()], device=ELSEWHERE, shown=False)
        module.cpu()
        assert module(torch.randn(2, 1, 12, 12)).shape == (2, 4)


@pytest.mark.parametrize("name", ["quantum", "cuda:none", "xla"])
def test_devices_that_cannot_be_used_are_errors(name: str) -> None:
    with pytest.raises(BadInput, match="cannot train there") as raised:
        usable(name)
    assert name in str(raised.value.where)


def test_the_processor_can_be_used() -> None:
    assert usable("cpu") == torch.device("cpu")
