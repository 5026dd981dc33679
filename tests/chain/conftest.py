"""PyTorch on one thread; synthetic pictures, a small network in a file, and recipes beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")
torch.set_num_threads(1)

MODEL = """
from torch import nn

def small(width=16, classes=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes),
    )
"""

HEAD = """
[model]
network = "model.py:small"
width = 16

[data]
train = "train.npz"
test = "test.npz"
validation = 0.2
batch = 32
calibration = 32
"""


def bars(count: int, seed: int) -> dict[str, np.ndarray]:
    """Noisy 12x12 pictures with a bright bar: horizontal or vertical, thin or thick."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 90, (count, 12, 12), dtype=np.uint8)
    y = np.arange(count) % 4
    for picture, label in zip(x, y, strict=True):
        at, thick = random.integers(1, 8), 1 + 2 * (label // 2)
        where = (slice(at, at + thick), slice(None)) if label % 2 else (slice(None), slice(at, at + thick))
        picture[where] += 120
    return {"x": x, "y": y}


class Place:
    """A folder with data, a model and recipes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        np.savez(folder / "train.npz", **bars(320, 0))
        np.savez(folder / "test.npz", **bars(96, 1))
        (folder / "model.py").write_text(MODEL)

    def recipe(self, text: str, head: str = HEAD, name: str = "recipe.toml") -> Path:
        path = self.folder / name
        path.write_text(head + text)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def ran() -> Any:
    """Runs a recipe and gives the result and what was said."""
    from edgesmith.chain.recipe import load
    from edgesmith.chain.result import optimized
    from edgesmith.chain.run import Chain

    def run(path: Path, output: Path | None = None) -> Any:
        said: list[str] = []
        chain = Chain(load(path, output), lambda *_: None, said.append, shown=False)
        return optimized(chain), said

    return run
