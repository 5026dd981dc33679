"""DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops.base import Case, Layout, f32, operator
from edgesmith.ops.movement import Copy, Movement


class _Blocks(Movement):
    """A reshape of (N, C, H, W) to six axes, a transpose, and a reshape back to four."""

    layout: ClassVar[Layout] = "channels_last"

    @abstractmethod
    def split(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The six extents of an input."""

    @abstractmethod
    def order(self) -> tuple[int, ...]:
        """The six axes in the order of the output."""

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        (out,) = self.infer([TensorType.of(x)])
        return (x.reshape(self.split(x.shape)).transpose(self.order()).reshape(out.shape),)

    def _source(self, input: View) -> View:
        source = input.reshape(self.split(input.shape))
        assert source is not None
        return source.transpose(self.order())

    def views(self, input: View) -> tuple[View | None, ...]:
        (out,) = self.infer([input.type])
        return (self._source(input).reshape(out.shape),)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        source = self._source(inputs[0])
        destination = outputs[0].reshape(source.shape)
        assert destination is not None
        return [Copy(0, source, 0, destination)]


@operator
@dataclass(frozen=True)
class DepthToSpace(_Blocks):
    """Blocks of channels become b x b pixels (https://onnx.ai/onnx/operators/onnx__DepthToSpace.html).

    Args:
        mode: DCR: the block axes are outermost in the channels, CRD: innermost (pixel shuffle).
    """

    name: ClassVar[str] = "DepthToSpace"
    blocksize: int
    mode: str = "DCR"

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        b = self.blocksize
        if x.rank != 4 or b < 1 or x.shape[1] % (b * b) or self.mode not in ("DCR", "CRD"):
            raise ModelError(f"{self} does not fit {x}", where=self.name)
        n, c, h, w = x.shape
        return (TensorType((n, c // (b * b), h * b, w * b), x.dtype),)

    def split(self, shape: Sequence[int]) -> tuple[int, ...]:
        n, c, h, w = shape
        b = self.blocksize
        return (n, b, b, c // (b * b), h, w) if self.mode == "DCR" else (n, c // (b * b), b, b, h, w)

    def order(self) -> tuple[int, ...]:
        return (0, 3, 4, 1, 5, 2) if self.mode == "DCR" else (0, 1, 4, 2, 5, 3)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(2), (f32(2, 12, 3, 4),), "dcr")
        yield Case(cls(3, "CRD"), (f32(1, 18, 2, 3),), "crd")
        yield Case(cls(2, "CRD"), (TensorType((1, 4, 2, 2), DType.F64),), "f64")


@operator
@dataclass(frozen=True)
class SpaceToDepth(_Blocks):
    """b x b pixels become blocks of channels (https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html)."""

    name: ClassVar[str] = "SpaceToDepth"
    blocksize: int

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        b = self.blocksize
        if x.rank != 4 or b < 1 or x.shape[2] % b or x.shape[3] % b:
            raise ModelError(f"{self} does not fit {x}", where=self.name)
        n, c, h, w = x.shape
        return (TensorType((n, c * b * b, h // b, w // b), x.dtype),)

    def split(self, shape: Sequence[int]) -> tuple[int, ...]:
        n, c, h, w = shape
        b = self.blocksize
        return (n, c, h // b, b, w // b, b)

    def order(self) -> tuple[int, ...]:
        return (0, 3, 5, 1, 2, 4)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(2), (f32(2, 3, 4, 6),))
