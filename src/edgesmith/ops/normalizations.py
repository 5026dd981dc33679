"""LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization, MeanVarianceNormalization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.normalization import Grouping, Normalization, sqrt_c
from edgesmith.ops.reduction import normalized_axes


def _parameters(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.uniform(0.5, 1.5, shape).astype(np.float32), rng.standard_normal(shape, np.float32)


@dataclass(frozen=True)
class FromAxis(Normalization):
    """Groups of all elements from an axis on; scale and bias broadcast to the tensor."""

    layout: ClassVar[Layout] = "row_major"
    axis: int = -1
    epsilon: float = 1e-5

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.integer("stash_type", 1) not in (DType.F32.value, DType.F64.value):
            raise node.unsupported(f"stash_type {node.attributes['stash_type']}")
        axis = node.integer("axis", -1)
        (axis,) = normalized_axes([axis], node.type().rank, node.name)
        epsilon = node.number("epsilon", 1e-5)
        return cls(axis, epsilon), node.inputs

    def grouping(self, shape: tuple[int, ...]) -> Grouping:
        return Grouping(shape, tuple(range(self.axis, len(shape))))


@operator
@dataclass(frozen=True)
class LayerNormalization(FromAxis):
    """With the statistics as outputs on request (https://onnx.ai/onnx/operators/onnx__LayerNormalization.html)."""

    name: ClassVar[str] = "LayerNormalization"
    statistics: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        op, inputs = super().from_onnx(node)
        assert isinstance(op, LayerNormalization)
        return replace(op, statistics=len(node.outputs) - 1), inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"axis": self.axis, "epsilon": self.epsilon}, ()

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(2), (f32(2, 3, 20), *_parameters(20)))
        yield Case(cls(1, 1e-3), (f32(2, 3, 4), _parameters(3, 4)[0]), "two axes, no bias")
        yield Case(cls(1, statistics=2), (f32(3, 50), *_parameters(50)), "statistics")


@operator
@dataclass(frozen=True)
class RMSNormalization(FromAxis):
    """https://onnx.ai/onnx/operators/onnx__RMSNormalization.html."""

    name: ClassVar[str] = "RMSNormalization"
    centred: ClassVar[bool] = False

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(2), (f32(2, 3, 20), _parameters(20)[0]))
        yield Case(cls(1, 1e-3), (f32(2, 3, 4), _parameters(3, 4)[0]), "two axes")


@operator
@dataclass(frozen=True)
class InstanceNormalization(Normalization):
    """Over the spatial axes of each channel (https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html)."""

    name: ClassVar[str] = "InstanceNormalization"
    epsilon: float = 1e-5

    def grouping(self, shape: tuple[int, ...]) -> Grouping:
        return Grouping(shape, tuple(range(2, len(shape))), (shape[1], *(1,) * (len(shape) - 2)))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 3, 4, 5), *_parameters(3)))
        yield Case(cls(1e-2), (f32(1, 4, 9), *_parameters(4)), "1d")


@operator
@dataclass(frozen=True)
class GroupNormalization(Normalization):
    """Over groups of channels (https://onnx.ai/onnx/operators/onnx__GroupNormalization.html)."""

    name: ClassVar[str] = "GroupNormalization"
    num_groups: int
    epsilon: float = 1e-5

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        if self.num_groups < 1 or x.rank < 2 or x.shape[1] % self.num_groups:
            raise ModelError(f"{x} does not split into {self.num_groups} groups of channels", where=self.name)
        return super().infer(inputs)

    def grouping(self, shape: tuple[int, ...]) -> Grouping:
        n, channels, *spatial = shape
        each = channels // self.num_groups
        axes = tuple(range(2, len(shape) + 1))
        return Grouping((n, self.num_groups, each, *spatial), axes, (self.num_groups, each, *(1,) * len(spatial)))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(2), (f32(2, 6, 4, 5), *_parameters(6)))
        yield Case(cls(4, 1e-2), (f32(1, 4, 9), *_parameters(4)), "single channels")


@operator
@dataclass(frozen=True)
class MeanVarianceNormalization(Normalization):
    """(x - mean) / (deviation + 1e-9) (https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html)."""

    name: ClassVar[str] = "MeanVarianceNormalization"
    axes: tuple[int, ...] = (0, 2, 3)

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        axes = node.integers("axes", (0, 2, 3))
        return cls(normalized_axes(axes, node.type().rank, node.name)), node.inputs

    def grouping(self, shape: tuple[int, ...]) -> Grouping:
        return Grouping(shape, self.axes)

    @property
    def epsilon(self) -> float:
        return 1e-9

    def inverse(self, variance: str, dtype: DType) -> str:
        return f"1 / ({sqrt_c(dtype)}({variance}) + {self.epsilon_c(dtype)})"

    def inverse_reference(self, variance: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (np.sqrt(variance) + self.epsilon))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 3, 4, 5),))
        yield Case(cls((1,)), (f32(2, 7, 3),), "channels")
