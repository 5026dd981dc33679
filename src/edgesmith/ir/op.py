"""What every operator says about itself, whatever will compute it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from edgesmith.ir.types import TensorType

__all__ = ["Cost", "Op"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Arithmetic of one execution: ``macs`` multiply-adds (convolution and matrix products), ``flops`` of the rest."""

    macs: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.flops + other.flops)


class Op(ABC):
    """An operator with its attributes as the fields of a frozen dataclass.

    Operands that must be known at compile time (a Reshape's shape, a Slice's starts) are attributes, not inputs. An
    absent optional input is ``None`` in the sequences below.
    """

    name: ClassVar[str]
    """The ONNX operator type that it follows."""

    @abstractmethod
    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        """Types of the outputs; raises ``UnsupportedOp`` or ``ModelError`` when the inputs do not fit."""

    @abstractmethod
    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """The outputs computed by numpy: short and obviously right, not fast."""

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Arithmetic of one execution; by default one operation for each output element."""
        return Cost(flops=sum(t.size for t in outputs))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        """Number of terms summed for one output element; it bounds the rounding error (1: none)."""
        return 1

    def attributes(self) -> dict[str, object]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def __str__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self.attributes().items())
        return f"{self.name}({shown})" if shown else self.name
