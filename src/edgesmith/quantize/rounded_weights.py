"""Weights stored in 16-bit floats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.cast import Cast
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.placement import Role, check_names, is_allowed, reads_integers, role, stored_values
from edgesmith.quantize.settings import Settings
from edgesmith.quantize.weight_edit import LEAST_ELEMENTS, Rounded, WeightEdit

__all__ = ["rounded_weights"]


def rounded_weights(graph: Graph, settings: Settings) -> Rounded:
    """Large f32 constants in 16 bits, rounded to nearest even, and a Cast to f32 behind each.

    Constants are large from 256 elements on, along two axes at least: biases and factors of channels stay as they are.
    So does a constant that the type cannot hold, for which there is a notice. Where activations are to be bf16 as well,
    what products read is rounded to it. Where they are to be fp16, so are all values that go to memory anyway, as if
    they were to become integers (``stored_values``); each reader has its own Cast to f32.

    Raises:
        BadInput: ``exclude`` or ``only`` name what the graph does not have.
    """
    check_names(graph, settings)
    edit = _Edit(graph, settings)
    for node in graph.nodes:
        if is_allowed(node, settings):
            edit.node(node)
    return edit.result()


@dataclass
class _Edit(WeightEdit):
    unfit: dict[str, str] = field(default_factory=dict)
    """Constant -> why it is not rounded."""
    made: dict[str, str] = field(default_factory=dict)
    """Value -> its rounded form, in f32."""
    halves: dict[str, str] = field(default_factory=dict)
    """Value -> its rounded form, in fp16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        stores = self.settings.activation_type is DType.F16
        allowed = [
            n for n in self.graph.nodes if stores and role(n.op) is Role.PRODUCT and is_allowed(n, self.settings)
        ]
        self._multiply = [n.name for n in allowed if self._constant(n.inputs[1], 1) in self.made.values()]
        self._stored = frozenset(stored_values(self.graph, self._multiply, self.settings))

    @property
    def _weights(self) -> DType:
        return self.settings.kind.weights

    def node(self, node: Node) -> None:
        """Let a node read rounded constants, and a product rounded values where the settings say so."""
        is_product = role(node.op) is Role.PRODUCT
        every = is_product and self.settings.activation_type is not DType.F32
        inputs = [self._constant(v, 1 if every else LEAST_ELEMENTS) for v in node.inputs]
        if is_product:
            if inputs[1] != node.inputs[1]:
                self.products.append(node.name)
            else:
                self.floats[node.name] = self._why(node.inputs[1])
        if every and self.settings.activation_type is DType.BF16:
            inputs[:2] = map(self._value, inputs[:2])
        if self._stored and reads_integers(self.graph, node, self._multiply, self.settings):
            inputs = [self._half(v) if v in self._stored else v for v in inputs]
        if tuple(inputs) != node.inputs:
            self.removed.add(node.name)
            self.insert.append(replace(node, inputs=tuple(inputs)))

    def _why(self, weights: str) -> str:
        if weights not in self.graph.constants:
            return "its weights are computed at run time"
        return self.unfit.get(weights, "its weights are few")

    def _constant(self, value: str, least: int) -> str:
        """The rounded form of a constant of at least so many elements; the value itself where it stays."""
        array = self.graph.constants.get(value)
        if value in self.made or value in self.unfit or array is None:
            return self.made.get(value, value)
        if array.dtype != np.float32 or array.size < least or sum(n > 1 for n in array.shape) < 2:
            return value
        with np.errstate(over="ignore", invalid="ignore"):
            short = array.astype(self._weights.numpy)
        notice = self._notice(value, array, short.astype(np.float32))
        if notice is not None:
            self.notices.append(notice)
            self.unfit[value] = notice.why
            return value
        stored = self.names(f"{value}:{self._weights}")
        self.constants[stored] = short
        self.made[value] = self._cast(stored, DType.F32, f"{value}:rounded")
        return self.made[value]

    def _value(self, value: str) -> str:
        """A computed value, rounded to bf16."""
        if value not in self.graph.types or value in self.graph.constants:
            return value
        if self.graph.type(value).dtype is not DType.F32:
            return value
        if value not in self.made:
            short = self._cast(value, DType.BF16, f"{value}:bf16")
            self.made[value] = self._cast(short, DType.F32, f"{value}:rounded")
        return self.made[value]

    def _half(self, value: str) -> str:
        """A computed value, rounded to fp16, for one reader."""
        if value not in self.halves:
            self.halves[value] = self._cast(value, DType.F16, f"{value}:f16")
        return self._cast(self.halves[value], DType.F32, f"{value}:rounded")

    def _cast(self, value: str, to: DType, name: str) -> str:
        result = self.names(name)
        producer = self.graph.producer(value) if value in self.graph.types else None
        origin = producer.origin if producer else ()
        self.insert.append(Node(self.names(f"{name}:cast"), Cast(to), (value,), (result,), origin))
        return result

    def _notice(self, value: str, exact: np.ndarray, rounded: np.ndarray) -> Notice | None:
        """Why a constant is not rounded: it overflows, or it is so small that much of it is lost."""
        name, stays = self.settings.precision, "it stays f32"
        if not np.isfinite(exact).all():
            return Notice("not-finite", value, f"an element is NaN or infinite; {stays}")
        largest = float(np.abs(exact).max())
        if not np.isfinite(rounded).all():
            return Notice(f"{name}-overflow", value, f"an element is {largest:.3g}, too large for {name}; {stays}")
        error, size = (float(np.linalg.norm(a.astype(np.float64))) for a in (exact - rounded, exact))
        if error > 2 * self._weights.unit_roundoff * size:
            why = f"its largest element is {largest:.3g}, and numbers so small lose digits in {name}; {stays}"
            return Notice(f"{name}-underflow", value, why)
        return None
