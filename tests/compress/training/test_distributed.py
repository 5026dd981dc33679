"""Two processes on one machine, connected by gloo."""

import os
import signal

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgesmith.compress.training import Batches, Callback, Pictures, Settings, fit
from edgesmith.errors import BadInput

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
lightning_fabric = pytest.importorskip("lightning_fabric", reason="Fabric is not installed (extra 'distributed')")

SETTINGS = Settings(epochs=3, lr=0.1, clip=1.0, accumulate=2, ema=0.9)


def pictures():
    generator = torch.Generator().manual_seed(0)
    return Pictures(torch.randint(256, (48, 1, 4, 4), dtype=torch.uint8, generator=generator), torch.arange(48) % 3)


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def scaled_loss(scale):
    """A loss with a parameter of its own, as the regressors of distillation have."""
    return lambda module, inputs, labels: functional.cross_entropy(scale(module(inputs)), labels)


class Interrupting(Callback):
    def __init__(self, step):
        self._step = step

    def on_step(self, run):
        if run.step == self._step:
            os.kill(os.getpid(), signal.SIGINT)


def launched(function, *arguments, processes=2):
    fabric = lightning_fabric.Fabric(
        accelerator="cpu", devices=processes, strategy="ddp_fork" if processes > 1 else "auto"
    )
    return fabric.launch(function, *arguments)


def train(fabric, size, folder, callbacks, dropout):
    torch.set_num_threads(1)
    module, scale = network(dropout), nn.Linear(3, 3, bias=False)
    nn.init.eye_(scale.weight)
    data = Batches(pictures(), size)
    try:
        history = fit(
            module,
            data,
            SETTINGS,
            loss=scaled_loss(scale),
            extra=[scale],
            validation=data.evaluation(),
            folder=folder,
            callbacks=callbacks,
            shown=False,
            fabric=fabric,
        )
    except KeyboardInterrupt:
        return None
    state = {k: v.tolist() for k, v in module.state_dict().items()}
    return state, scale.weight.tolist(), [(e.step, e.loss, e.top1) for e in history.epochs]


def close(a, b):
    return torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-5)


def test_two_processes_train_as_one_does_with_batches_of_twice_the_size(tmp_path):
    both = launched(train, 4, tmp_path, (), 0.0)
    one = train(None, 8, None, (), 0.0)
    assert both[0].keys() == one[0].keys() and all(close(both[0][k], one[0][k]) for k in one[0])
    assert close(both[1], one[1]) and close(both[2], one[2])
    assert [step for step, *_ in one[2]] == [3, 6, 9]


@pytest.mark.parametrize("pause", [0.0, 2.0], ids=["within an epoch", "after it"])
def test_an_interrupted_run_of_two_processes_goes_on(tmp_path, monkeypatch, pause):
    monkeypatch.setattr("edgesmith.compress.training.run.SECONDS_BETWEEN_AGREEMENTS", pause)
    whole = launched(train, 4, None, (), 0.3)
    assert launched(train, 4, tmp_path, (Interrupting(4),), 0.3) is None
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == (4 if pause == 0 else 6)
    resumed = launched(train, 4, tmp_path, (Interrupting(0),), 0.3)
    assert resumed == whole


def test_a_single_process_of_fabric_trains_as_none_does():
    assert launched(train, 8, None, (), 0.3, processes=1) == train(None, 8, None, (), 0.3)


def test_fabric_decides_the_precision():
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    with pytest.raises(BadInput, match="Fabric decides"):
        fit(network(), Batches(pictures(), 8), Settings(amp="bf16"), fabric=fabric)
