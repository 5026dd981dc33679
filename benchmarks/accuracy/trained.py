"""Networks of the zoo that the project trains itself, and where their files are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith.knobs import CACHE_DIR

from .pictures import Picture

LENET = Picture(size=32, channels=1, enlarge=1, mean=0.2860, deviation=0.3530)
DOUBLED = Picture(size=56, channels=3, enlarge=2, mean=0.2860, deviation=0.3530)
PLAIN = Picture(size=28, channels=3, enlarge=1, mean=0.2860, deviation=0.3530)
SIGNS = Picture(size=64, channels=3, enlarge=1, mean=0.55, deviation=0.22)


@dataclass(frozen=True)
class Trained:
    """A network, what it learns from, and how.

    Args:
        network, width: of the zoo.
        data: name of the data set.
        picture: how stored pictures become inputs.
        epochs: passes over the training pictures.
        rate: highest learning rate of AdamW (arXiv:1711.05101).
        decay: its weight decay.
        batch: pictures in a step.
        reach: pixels by which pictures are moved at most, and half of them mirrored; 0: they are taken as they are.
        seed: of the weights, the order and the variations.
    """

    network: str
    data: str
    picture: Picture
    epochs: int
    width: float = 1.0
    rate: float = 4e-3
    decay: float = 0.05
    batch: int = 128
    reach: int = 2
    seed: int = 0
    classes: int = field(default=10)

    @property
    def name(self) -> str:
        width = "" if self.width == 1.0 else f"-{self.width:g}"
        return f"{self.network}{width}.{self.data}"

    @property
    def folder(self) -> Path:
        """Where its files are: another recipe has another folder."""
        recipe = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return CACHE_DIR() / "accuracy" / f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    @property
    def file(self) -> Path:
        """The trained model, for one picture."""
        return self.folder / f"{self.name}.onnx"


FASHION, DIGITS = "fashion-mnist", "sign-language-digits"

TRAINED = (
    Trained("lenet-5", FASHION, LENET, epochs=12, rate=3e-3, reach=0),
    Trained("mobilenet-v1", FASHION, DOUBLED, epochs=4, width=0.25),
    Trained("mobilenet-v2", FASHION, DOUBLED, epochs=4, width=0.35),
    Trained("mobilenet-v3-small", FASHION, DOUBLED, epochs=4),
    Trained("shufflenet-v2-0.5", FASHION, DOUBLED, epochs=4),
    Trained("resnet-18", FASHION, PLAIN, epochs=2),
    Trained("mobilenet-v1", DIGITS, SIGNS, epochs=60, width=0.25, batch=32, reach=5),
    Trained("mobilenet-v2", DIGITS, SIGNS, epochs=60, width=0.35, batch=32, reach=5),
    Trained("squeezenet-1.1", DIGITS, SIGNS, epochs=30, rate=5e-4, batch=32, reach=5),
)
"""In the order in which they are trained."""
