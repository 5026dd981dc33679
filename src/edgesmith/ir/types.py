"""Element and tensor types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import ml_dtypes
import numpy as np

__all__ = ["DType", "TensorType"]


class DType(Enum):
    """Element type of a tensor; the value is its ONNX ``TensorProto.DataType`` number."""

    F32 = 1
    U8 = 2
    I8 = 3
    U16 = 4
    I16 = 5
    I32 = 6
    I64 = 7
    BOOL = 9
    F16 = 10
    F64 = 11
    U32 = 12
    U64 = 13
    BF16 = 16

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return _NUMPY[self]

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize

    @property
    def c(self) -> str:
        """The C99 type of one element; fp16 and bf16 are stored as their bits."""
        return _C[self]

    @property
    def is_float(self) -> bool:
        return self in (DType.F16, DType.BF16, DType.F32, DType.F64)

    @property
    def is_signed(self) -> bool:
        return self.is_float or self in (DType.I8, DType.I16, DType.I32, DType.I64)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest number of an integer type."""
        bits = 1 if self is DType.BOOL else 8 * self.itemsize
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.is_signed else (0, (1 << bits) - 1)

    @property
    def lowest(self) -> float:
        """The smallest finite number."""
        if not self.is_float:
            return self.limits[0]
        return float(np.nextafter(np.array(-np.inf, self.numpy), np.array(0, self.numpy)))

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding a real number to this type (half an ULP); 0 for integers."""
        return 2.0 ** -_SIGNIFICAND_BITS[self] if self.is_float else 0.0

    @classmethod
    def of(cls, dtype: np.dtype[np.generic] | type) -> DType:
        """The element type of a numpy dtype; raises ``KeyError`` when there is none."""
        return _BY_NUMPY[np.dtype(dtype)]

    def __str__(self) -> str:
        return self.name.lower()


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F32: np.dtype(np.float32),
    DType.U8: np.dtype(np.uint8),
    DType.I8: np.dtype(np.int8),
    DType.U16: np.dtype(np.uint16),
    DType.I16: np.dtype(np.int16),
    DType.I32: np.dtype(np.int32),
    DType.I64: np.dtype(np.int64),
    DType.BOOL: np.dtype(np.bool_),
    DType.F16: np.dtype(np.float16),
    DType.F64: np.dtype(np.float64),
    DType.U32: np.dtype(np.uint32),
    DType.U64: np.dtype(np.uint64),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
}
_SIGNIFICAND_BITS = {DType.BF16: 8, DType.F16: 11, DType.F32: 24, DType.F64: 53}
_BY_NUMPY = {numpy: dtype for dtype, numpy in _NUMPY.items()}
_C = {dtype: f"{numpy.name}_t" for dtype, numpy in _NUMPY.items()} | {
    DType.F32: "float",
    DType.F64: "double",
    DType.F16: "uint16_t",
    DType.BF16: "uint16_t",
    DType.BOOL: "uint8_t",
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type of a value. Where its elements lie in memory is the plan's business (``View``)."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @classmethod
    def of(cls, array: np.ndarray) -> TensorType:
        return cls(array.shape, DType.of(array.dtype))

    def __str__(self) -> str:
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}]"
