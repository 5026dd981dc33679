"""What every observer has in common, and their registry."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import numpy as np

from edgesmith.quantize.parameters import Range
from edgesmith.quantize.settings import Settings
from edgesmith.registry import Registry

__all__ = ["OBSERVERS", "Observer", "observer"]

State = Mapping[str, np.ndarray]


class Observer(ABC):
    """Sees a value sample by sample, keeps a summary of bounded size, and chooses the range that integers represent.

    ``low`` and ``high`` are the smallest and the largest element so far.
    """

    name: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.low, self.high = math.inf, -math.inf

    def observe(self, x: np.ndarray) -> None:
        """Take in the value of one more sample: finite numbers, at least one."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    @abstractmethod
    def range(self) -> Range:
        """The chosen range; there was at least one sample."""

    def state(self) -> dict[str, np.ndarray]:
        """The summary, for ``restore``."""
        return {"extremes": np.array([self.low, self.high])}

    def restore(self, state: State) -> None:
        """Go on from a summary."""
        self.low, self.high = (float(v) for v in state["extremes"])


OBSERVERS: Registry[type[Observer]] = Registry("observer", "edgesmith.quantize.observers")

T = TypeVar("T", bound=Observer)


def observer(name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: registers an observer."""

    def add(cls: type[T]) -> type[T]:
        cls.name = name
        OBSERVERS.register(name)(cls)
        return cls

    return add
