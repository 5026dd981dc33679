"""The numbers of a Winograd convolution: what its phases load, multiply, add and store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.tile import FLOATS, Products

__all__ = ["FLOAT_NUMBERS", "Numbers"]


class Numbers(ABC):
    """Types and operations of the phases; the transformed input and weights are ``products.element``.

    ``vector`` is the C type of a vector of transformed input, ``sum_vector`` that of products, ``result_vector`` that
    of outputs before the epilogue.
    """

    products: Products
    source: DType
    sums: ClassVar[DType]
    """Of the products in memory."""
    vector: ClassVar[str]
    sum_vector: ClassVar[str]
    result_vector: ClassVar[str]

    @property
    @abstractmethod
    def weight(self) -> DType:
        """Of the weights before their transform."""

    @property
    def group(self) -> int:
        """Input channels that a step multiplies."""
        return self.products.group

    @property
    def element_bytes(self) -> int:
        return self.products.element.itemsize

    def channels(self, lanes: int) -> int:
        """Input channels of a vector."""
        return lanes * DType.F32.itemsize // self.element_bytes

    @abstractmethod
    def read(self, address: str, channels: int | None) -> str:
        """A vector of inputs; ``channels``: how many, when not all."""

    @abstractmethod
    def store_input(self, address: str, value: str) -> str:
        """Statement that stores a vector of transformed input."""

    @abstractmethod
    def read_weights(self, address: str) -> str:
        """A vector ``es_v`` of weights of neighbouring output channels."""

    @abstractmethod
    def store_weights(self, address: str, values: Sequence[str]) -> str:
        """Statement that stores the vectors of transformed weights of ``group`` input channels."""

    @abstractmethod
    def read_sums(self, address: str) -> str:
        """A vector of products."""

    @abstractmethod
    def zero_sums(self, names: Sequence[str]) -> str:
        """Declaration of sums of products that start at 0."""

    @abstractmethod
    def continue_sums(self, name: str, address: str) -> str:
        """Statement that lets a sum go on from what is in memory."""

    @abstractmethod
    def store_sums(self, address: str, name: str) -> str:
        """Statement that stores such a sum."""

    @abstractmethod
    def read_bias(self, address: str) -> str:
        """A vector of the bias."""

    @abstractmethod
    def result(self, w: Writer, value: str) -> str:
        """Write what turns the transformed sums ``value`` into an output without its bias; its C expression."""


class _Floats(Numbers):
    products = FLOATS
    source = sums = DType.F32
    vector = sum_vector = result_vector = "es_v"

    @property
    def weight(self) -> DType:
        return DType.F32

    def read(self, address: str, channels: int | None) -> str:
        return f"es_load({address})" if channels is None else f"es_load_n({address}, {channels})"

    def store_input(self, address: str, value: str) -> str:
        return f"es_store({address}, {value});"

    def read_weights(self, address: str) -> str:
        return f"es_load({address})"

    def store_weights(self, address: str, values: Sequence[str]) -> str:
        (value,) = values
        return f"es_store({address}, {value});"

    def read_sums(self, address: str) -> str:
        return f"es_load({address})"

    def zero_sums(self, names: Sequence[str]) -> str:
        return f"es_v {', '.join(f'{name} = {{0}}' for name in names)};"

    def continue_sums(self, name: str, address: str) -> str:
        return f"{name} = es_load({address});"

    def store_sums(self, address: str, name: str) -> str:
        return f"es_store({address}, {name});"

    def read_bias(self, address: str) -> str:
        return f"es_load({address})"

    def result(self, w: Writer, value: str) -> str:
        return value


FLOAT_NUMBERS = _Floats()
