"""Smooth activations: Elu, Selu, Celu, Softplus, Softsign, Mish, Gelu, Swish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, polynomial, select
from edgesmith.ir import Node
from edgesmith.ops.base import Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.elementwise import Elementwise
from edgesmith.ops.functions import Sigmoid
from edgesmith.ops.mul import Mul


@operator
@dataclass(frozen=True)
class Elu(Elementwise):
    """x, or alpha (e**x - 1) below 0 (https://onnx.ai/onnx/operators/onnx__Elu.html)."""

    name: ClassVar[str] = "Elu"
    alpha: float = 1.0

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return select(x < 0.0, call("expm1", x) * self.alpha, x)


@operator
@dataclass(frozen=True)
class Selu(Elementwise):
    """gamma x, or gamma alpha (e**x - 1) up to 0 (https://onnx.ai/onnx/operators/onnx__Selu.html)."""

    name: ClassVar[str] = "Selu"
    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return select(x > 0.0, x * self.gamma, call("expm1", x) * (self.alpha * self.gamma))


@operator
@dataclass(frozen=True)
class Celu(Elementwise):
    """x, or alpha (e**(x / alpha) - 1) below 0 (https://onnx.ai/onnx/operators/onnx__Celu.html)."""

    name: ClassVar[str] = "Celu"
    alpha: float = 1.0

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return select(x < 0.0, call("expm1", x / self.alpha) * self.alpha, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case(cls(2.0), (f32(33),), "alpha")


@operator
@dataclass(frozen=True)
class Softplus(Elementwise):
    """ln(1 + e**x) (https://onnx.ai/onnx/operators/onnx__Softplus.html)."""

    name: ClassVar[str] = "Softplus"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return call("softplus", x)


@operator
@dataclass(frozen=True)
class Softsign(Elementwise):
    """x / (1 + |x|) (https://onnx.ai/onnx/operators/onnx__Softsign.html)."""

    name: ClassVar[str] = "Softsign"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return x / (1.0 + call("abs", x))


@operator
@dataclass(frozen=True)
class Mish(Elementwise):
    """x tanh(ln(1 + e**x)) (https://onnx.ai/onnx/operators/onnx__Mish.html)."""

    name: ClassVar[str] = "Mish"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        # tanh(ln(1 + w)) = w (w + 2) / (w (w + 2) + 2), which is 1 in f32 long before w = e**20.
        w = call("exp", call("min", 20.0, x))
        n = w * (w + 2.0)
        return x * (n / (n + 2.0))


@operator
@dataclass(frozen=True)
class Gelu(Elementwise):
    """x times the normal distribution function, exactly or by tanh (https://onnx.ai/onnx/operators/onnx__Gelu.html)."""

    name: ClassVar[str] = "Gelu"
    approximate: str = "none"

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        approximate = str(node.attributes.get("approximate", "none"))
        if approximate not in ("none", "tanh"):
            raise node.unsupported(f"approximation {approximate!r}")
        return cls(approximate), node.inputs

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        if self.approximate == "none":
            return x * 0.5 * (1.0 + call("erf", x * math.sqrt(0.5)))
        # (1 + tanh y) / 2 is the logistic function of 2 y.
        twice = 2 * math.sqrt(2 / math.pi)
        return x * call("sigmoid", x * polynomial(x * x, [0.044715 * twice, twice]))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case(cls("tanh"), (f32(7, 9),), "tanh")


@operator
@dataclass(frozen=True)
class Swish(Elementwise):
    """x / (1 + e**(-alpha x)) (https://onnx.ai/onnx/operators/onnx__Swish.html)."""

    name: ClassVar[str] = "Swish"
    alpha: float = 1.0

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return x * call("sigmoid", x if self.alpha == 1 else x * self.alpha)

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]] | None:
        (x,), (y,) = node.inputs, node.outputs
        scaled, alpha, gate = f"{y}:scaled", f"{y}:alpha", f"{y}:gate"
        nodes = (
            Node(f"{node.name}:scale", Mul(), (x, alpha), (scaled,), node.origin),
            Node(f"{node.name}:sigmoid", Sigmoid(), (x if self.alpha == 1 else scaled,), (gate,), node.origin),
            Node(node.name, Mul(), (x, gate), (y,), node.origin),
        )
        return (nodes[1:], {}) if self.alpha == 1 else (nodes, {alpha: np.asarray(self.alpha, np.float32)})

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case(cls(1.702), (f32(50),), "alpha")
