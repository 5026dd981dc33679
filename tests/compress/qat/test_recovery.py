"""Training regains what 4 bits lose, on real pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from edgesmith.compress import qat  # noqa: E402

DATA = Path(__file__).parents[4] / "shared" / "material" / "datasets" / "fashion_mnist"
pytestmark = [
    pytest.mark.torch,
    pytest.mark.material,
    pytest.mark.skipif(not DATA.is_dir(), reason="Fashion-MNIST is not beside the checkout"),
]


def pictures(part: str, count: int) -> tuple[Tensor, Tensor]:
    """Every second pixel of each axis, centred."""
    pixels = np.frombuffer(gzip.decompress((DATA / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((DATA / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    x = torch.from_numpy(pixels.reshape(-1, 1, 28, 28)[:count].astype(np.float32) / 128 - 0.6)
    return x[:, :, ::2, ::2].contiguous(), torch.from_numpy(labels[:count].astype(np.int64))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

        stem = layer(1, 12, 3, 2)
        self.features = nn.Sequential(*stem, *layer(12, 12, 3, 1, 12), *layer(12, 24, 1), *layer(24, 24, 3, 2))
        self.classifier = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def train(module: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float, schedule: qat.Schedule | None) -> None:
    optimizer = torch.optim.Adam(qat.parameter_groups(module, lr=lr))
    batches = len(y) // 64
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(epochs):
        module.train()
        if schedule is not None:
            schedule.on_epoch(module, epoch)
        for chosen in torch.randperm(len(y), generator=generator)[: batches * 64].reshape(-1, 64):
            loss = nn.functional.cross_entropy(module(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()


def right(module: nn.Module, x: Tensor, y: Tensor) -> int:
    with torch.no_grad():
        return int((module.eval()(x).argmax(1) == y).sum())


def test_training_regains_what_four_bits_lose() -> None:
    torch.manual_seed(0)
    x, y = pictures("train", 6000)
    test_x, test_y = pictures("t10k", 2000)
    network = Tiny()
    train(network, x, y, 3, 5e-3, None)
    exact = right(network, test_x, test_y)
    student = qat.prepare(network, x[:1], qat.Settings(weight_bits=4), init=[x[:64]])
    direct = right(student, test_x, test_y)
    train(student, x, y, 2, 2e-3, qat.Schedule(2, freeze_at=0.5))
    trained = right(student, test_x, test_y)
    simulated = qat.simulate(student, test_x[:250])(test_x)
    print(exact, direct, trained)
    assert abs(int((simulated.argmax(1) == test_y).sum()) - trained) <= 1
    # the standard deviation of a difference of counts is some 20 of 2,000
    assert trained > direct + 20
    assert trained > exact - 60
