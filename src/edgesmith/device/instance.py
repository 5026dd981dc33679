"""One running program, step by step: what verification and profiles work with, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

__all__ = ["Instance", "StepTimes"]


@dataclass(frozen=True)
class StepTimes:
    """Nanoseconds, one row for each repetition.

    Args:
        steps: of each step: (repetitions, steps).
        whole: of a run as one: (repetitions,).
        empty: of calls that run no step: what measuring adds to each time.
    """

    steps: np.ndarray
    whole: np.ndarray
    empty: np.ndarray


class Instance(ABC):
    """State of one running program; belongs to one thread at a time.

    Whatever is asked of it can fail: ``ArtifactError`` where the program refuses, ``DeviceError`` where the machine is
    out of reach.
    """

    variant: str = ""
    """Of a program for several instruction sets, the one that runs."""

    @abstractmethod
    def bind(self, inputs: Sequence[np.ndarray]) -> None:
        """Set the inputs (C-contiguous, of the declared types, in the model's order) of the runs to come."""

    @abstractmethod
    def run_steps(self, begin: int, end: int) -> None:
        """Run steps ``begin`` to ``end`` (exclusive)."""

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """Copies of the outputs as they are now."""

    @abstractmethod
    def read(self, value: str) -> np.ndarray:
        """A copy of a value as it is now, dense, in the model's shape; valid between the steps that use it."""

    @abstractmethod
    def write(self, value: str, array: np.ndarray) -> None:
        """Replace a value."""

    @abstractmethod
    def checksum(self, value: str) -> int:
        """CRC-32 of the elements of ``read``."""

    @abstractmethod
    def time_steps(self, repetitions: int) -> StepTimes:
        """Run the program step by step and as a whole, in turn, on the bound inputs."""

    @abstractmethod
    def close(self) -> None:
        """End it; nothing else may be called afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
