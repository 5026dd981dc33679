"""What an operator of the product adds to ``ir.Op``: its ONNX binding, layout habit, portable C and test cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import DType, Node, Op, TensorType, View
from edgesmith.registry import Registry

__all__ = ["OPS", "Array", "Case", "OnnxNode", "Operator", "broadcast_shape", "f32", "operator"]

Layout = Literal["channels_last", "like_input", "row_major"]


@dataclass(frozen=True)
class OnnxNode:
    """One node of a normalised ONNX model, as an operator's binding sees it.

    Args:
        inputs: value names, ``""`` for an absent one.
        attributes: Python values (numbers, strings, lists, arrays).
        types: types of all values known so far.
        constants: values known at compile time.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]
    types: Mapping[str, TensorType]
    constants: Mapping[str, np.ndarray]

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def type(self, index: int = 0) -> TensorType:
        """Type of an input."""
        return self.types[self.inputs[index]]

    def operand(self, index: int, what: str) -> np.ndarray | None:
        """An input that must be known at compile time, or None when it is absent.

        Args:
            what: its name in the operator's specification, for the error.
        """
        if not self.has(index):
            return None
        value = self.constants.get(self.inputs[index])
        if value is None:
            raise UnsupportedOp(
                f"{self.op_type}: {what} ({self.inputs[index]!r}) is computed at run time",
                where=self.name,
                hint=f"fix it with --bind {self.inputs[index]}=VALUE if it is a model input; "
                "otherwise export the model with static shapes",
            )
        return value

    def ints(self, index: int, what: str) -> tuple[int, ...] | None:
        """Like ``operand``, as integers."""
        value = self.operand(index, what)
        return None if value is None else tuple(int(v) for v in value.reshape(-1))

    def integer(self, attribute: str, default: int | None = None) -> int:
        """An attribute that is a whole number; without a default, the node must have it."""
        return int(self.number(attribute, default))

    def number(self, attribute: str, default: float | None = None) -> float:
        value = self.attributes.get(attribute, default)
        if not isinstance(value, int | float):
            raise ModelError(f"attribute {attribute} is {value!r}, needs a number", where=self.name)
        return value

    def integers(self, attribute: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that lists whole numbers; the default where it is absent or empty."""
        value = self.attributes.get(attribute) or default
        if isinstance(value, bytes) or not isinstance(value, Sequence) or not all(isinstance(v, int) for v in value):
            raise ModelError(f"attribute {attribute} is {value!r}, needs whole numbers", where=self.name)
        return tuple(value)

    def unsupported(self, why: str, hint: str = "") -> UnsupportedOp:
        return UnsupportedOp(f"{self.op_type}: {why}", where=self.name, hint=hint)


@dataclass(frozen=True)
class Array:
    """An operand in generated C: a pointer to the first element and the strides that lead on."""

    pointer: str
    view: View

    def at(self, *index: str | int) -> str:
        """C text of the element at a logical index; computed in 64 bits where the view spans 2**31 elements or more."""
        wide = "(int64_t)" if self.view.span > 2**31 - 1 else ""
        terms = []
        for i, stride, n in zip(index, self.view.strides, self.view.shape, strict=True):
            if n == 1 or stride == 0 or i in (0, "0"):
                continue
            factor = str(i) if str(i).isidentifier() or str(i).isdigit() else f"({i})"
            terms.append(wide + (factor if stride == 1 else f"{factor} * {stride}"))
        return f"{self.pointer}[{' + '.join(terms) or '0'}]"

    def at_linear(self, index: str) -> str:
        """C text of the element at a row-major index of the whole tensor."""
        divisor = self.view.size
        parts = []
        for n in self.view.shape:
            divisor //= max(n, 1)
            parts.append(f"{index} / {divisor} % {n}" if divisor > 1 else f"{index} % {n}")
        return self.at(*parts)


@dataclass(frozen=True)
class Case:
    """An example use of an operator; feeds the operator test, the codegen test, the fuzzer and the benchmark.

    Args:
        inputs: types of run-time inputs, or arrays for constants; None for an absent one.
    """

    op: Operator
    inputs: tuple[TensorType | np.ndarray | None, ...]
    name: str = ""


class Operator(Op):
    """An operator that the frontend can bind, the planner can place and portable C can compute."""

    layout: ClassVar[Layout] = "row_major"
    """How its output likes to lie in memory: image operators put channels innermost."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        """The operator and its run-time inputs. Default: attributes by field name, all inputs."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in node.attributes.items() if k in known}
        return cls(**values), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        """ONNX operator type, attributes, and constant operands that follow the run-time inputs."""
        shown = {k: v for k, v in self.attributes().items() if v is not None}
        return self.name, {k: list(v) if isinstance(v, tuple) else v for k, v in shown.items()}, ()

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]] | None:
        """Nodes, and constants that they read, that compute the same with operators that ONNX Runtime has; None: it has
        this one."""
        return None

    def unrounded(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        """What an integer result is rounded from, and by how much (standard deviation) that differs from what the
        quantised model computes in floats; None: every program has the same integers."""
        return None

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        """Number of independent pieces that ``portable`` is split into."""
        return 1

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        """Write portable C99 that computes tasks ``begin`` to ``end``; an operator without it cannot be a step."""
        raise UnsupportedOp(f"{self.name} has no portable C")

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        """Names of the math functions (``c.mathfunctions``) that ``portable`` calls for inputs of these types."""
        return ()

    @classmethod
    def cases(cls) -> Iterator[Case]:
        """Example uses, small, that reach every branch of the operator."""
        return iter(())


OPS: Registry[type[Operator]] = Registry("operator", "edgesmith.ops")

T = TypeVar("T", bound=Operator)


def operator(cls: type[T]) -> type[T]:
    """Class decorator: registers an operator under its ONNX name."""
    OPS.register(cls.name)(cls)
    return cls


def broadcast_shape(node: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """numpy's broadcast of shapes; raises ``UnsupportedOp`` naming the operator when they do not fit."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        shown = ", ".join(map(str, shapes))
        raise UnsupportedOp(f"{node}: shapes {shown} do not broadcast") from None


def f32(*shape: int) -> TensorType:
    """Shorthand for cases: a float32 tensor type."""
    return TensorType(tuple(shape), DType.F32)
