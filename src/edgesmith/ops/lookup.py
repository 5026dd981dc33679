"""Lookup of bytes in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import DType, Node, TensorType
from edgesmith.ops.base import Array, Case, Layout, Operator, operator
from edgesmith.ops.cast import Cast
from edgesmith.ops.gather import Gather

__all__ = ["BYTES", "Lookup", "table_of"]

BYTES = (DType.I8, DType.U8)


def table_of(nodes: Sequence[Node], constants: Mapping[str, np.ndarray], x: TensorType, value: str) -> np.ndarray:
    """The last result of nodes that compute a function of one byte: (256) for each byte as an unsigned number.

    Args:
        nodes: in topological order; besides ``value`` they read single constants.
        x: type of the bytes.
        value: their name.
    """
    values: dict[str, np.ndarray] = {value: np.arange(256, dtype=np.uint8).view(x.dtype.numpy)}
    for node in nodes:
        operands = (values[v] if v in values else constants[v] if v else None for v in node.inputs)
        with np.errstate(all="ignore"):
            values |= zip(node.outputs, node.op.reference(*operands), strict=True)
    return values[nodes[-1].outputs[0]].reshape(256)


@operator
@dataclass(frozen=True)
class Lookup(Operator):
    """Any function of bytes: the entry of a table of 256, at the byte as an unsigned number.

    Inputs are x and the table, a constant; either may be i8 or u8. ONNX has no such operator; it is spelled out as Cast
    and Gather, where a negative index counts from the end, which is the same entry.
    """

    name: ClassVar[str] = "Lookup"
    layout: ClassVar[Layout] = "like_input"

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, table = inputs
        assert x is not None and table is not None
        if x.dtype not in BYTES or table.dtype not in BYTES or table.shape != (256,):
            raise UnsupportedOp(f"Lookup of {x} in {table}")
        return (TensorType(x.shape, table.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, table = inputs
        assert x is not None and table is not None
        return (table[x.view(np.uint8)],)

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]] | None:
        (x, table), (y,) = node.inputs, node.outputs
        index = f"{y}:index"
        cast = Node(f"{node.name}:cast", Cast(DType.I32), (x,), (index,), node.origin)
        return (cast, Node(node.name, Gather(), (table, index), (y,), node.origin)), {}

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x, table), (y,) = inputs, outputs
        assert x is not None and table is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = {table.at(f'(uint8_t){x.at(*index)}')};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(6)
        for x in BYTES:
            for y in BYTES:
                table = rng.integers(0, 256, 256).astype(np.uint8).view(y.numpy)
                yield Case(cls(), (TensorType((2, 5, 7, 11), x), table), f"{x} to {y}")
        yield Case(cls(), (TensorType((1, 40, 30, 30), DType.U8), np.arange(256, dtype=np.uint8)[::-1].copy()), "large")
