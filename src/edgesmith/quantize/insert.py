"""QuantizeLinear and DequantizeLinear inserted into a float graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.ir import DType, Graph, Node, Op
from edgesmith.ops.quantize_by_axis import DequantizeLinearByAxis
from edgesmith.ops.quantize_linear import DequantizeLinear, QuantizeLinear
from edgesmith.quantize.graph_edit import GraphEdit
from edgesmith.quantize.parameters import Parameters, QParams
from edgesmith.quantize.placement import reads_integers, stored_values
from edgesmith.quantize.products import MAX_BIAS, Product, product
from edgesmith.quantize.settings import Settings

__all__ = ["bias_units", "quantized_graph", "quantized_products"]


def quantized_graph(graph: Graph, parameters: Parameters, settings: Settings) -> Graph:
    """The graph with rounded values and weights, as pairs of QuantizeLinear and DequantizeLinear.

    Weights and biases become integer constants behind a DequantizeLinear; biases are i32 in units of scale of input
    times scale of weights. Values of the float graph keep their names and their place before the rounding.

    Args:
        graph: an optimised float graph.
        parameters: nodes without weights' parameters, and products of values without parameters, stay in floats.

    Raises:
        BadInput: integers for weights do not fit the weights or their type.
    """
    products = quantized_products(graph, parameters)
    stored = [v for v in stored_values(graph, products.keys(), settings) if v in parameters.values]
    edit = _Edit(graph, parameters)
    for value in stored:
        edit.store(value)
    for node in graph.nodes:
        if reads_integers(graph, node, products.keys(), settings):
            edit.read(node, products.get(node.name))
    return edit.patched()


def quantized_products(graph: Graph, parameters: Parameters) -> dict[str, Product]:
    """The products that multiply integers under these parameters, by node name."""
    found = {}
    for node in graph.nodes:
        if node.name in parameters.weights and node.inputs[0] in parameters.values:
            form = product(graph, node)
            if isinstance(form, Product):
                found[node.name] = form
    return found


def bias_units(form: Product, x: QParams, w: QParams) -> np.ndarray:
    """The scale of a product's bias, f64, one for each output channel or for all."""
    unit = np.float64(form.gain) * x.scale.astype(np.float64).reshape(-1) * w.scale.astype(np.float64).reshape(-1)
    return np.asarray(unit / form.bias_gain)


@dataclass
class _Edit(GraphEdit):
    """Puts conversions behind values and constants."""

    parameters: Parameters
    rounded: dict[str, str] = field(default_factory=dict)
    """Value -> what its integers stand for."""

    def store(self, value: str) -> None:
        """Round a value to integers and back."""
        q = self.parameters.values[value]
        scale, zero = self._constant(f"{value}:scale", q.scale), self._constant(f"{value}:zero", q.zero)
        producer = self.graph.producer(value)
        origin = producer.origin if producer else ()
        integers = self.names(f"{value}:quantized")
        down = Node(self.names(f"{value}:quantize"), QuantizeLinear(q.dtype), (value, scale, zero), (integers,), origin)
        self.insert.append(down)
        self.rounded[value] = self._dequantize(value, integers, (scale, zero), None, origin)

    def read(self, node: Node, form: Product | None) -> None:
        """Let a node read rounded values, and rounded weights if it is a product."""
        inputs = [self.rounded.get(v, v) for v in node.inputs]
        if form is not None:
            inputs[1:] = self._weights(form)
        if tuple(inputs) != node.inputs:
            self.removed.add(node.name)
            self.insert.append(replace(node, inputs=tuple(inputs)))

    def _weights(self, form: Product) -> list[str]:
        name = form.node.name
        x, w = self.parameters.values[form.input], self.parameters.weights[name]
        integers = self.parameters.integers.get(name)
        if integers is None:
            integers = w.quantize(form.weights)
        _check(integers, form, w)
        operands = [
            self._constant(f"{name}:weights", integers),
            self._constant(f"{name}:weights:scale", w.scale),
            self._constant(f"{name}:weights:zero", w.zero),
        ]
        found = [self._dequantize(f"{name}:weights", operands[0], operands[1:], w.axis, form.node.origin)]
        if form.bias is not None:
            found.append(self._bias(form, x, w))
        return found

    def _bias(self, form: Product, x: QParams, w: QParams) -> str:
        with np.errstate(all="ignore"):
            units = bias_units(form, x, w)
            scale = units.astype(np.float32)
            steps = np.rint(form.bias.astype(np.float64) / units) if form.bias is not None else np.zeros(1)
        if not np.isfinite(steps).all() or np.abs(steps).max(initial=0) >= MAX_BIAS or not (scale > 0).all():
            return form.node.inputs[2]
        name = f"{form.node.name}:bias"
        integers = self._constant(name, steps.astype(np.int32))
        by_channel = scale.size > 1
        factor = self._constant(f"{name}:scale", scale if by_channel else scale.reshape(()))
        return self._dequantize(name, integers, (factor,), 0 if by_channel else None, form.node.origin)

    def _dequantize(
        self, base: str, integers: str, operands: Sequence[str], axis: int | None, origin: tuple[str, ...]
    ) -> str:
        result = self.names(f"{base}:dequantized")
        op: Op = DequantizeLinear() if axis is None else DequantizeLinearByAxis(axis)
        self.insert.append(Node(self.names(f"{base}:dequantize"), op, (integers, *operands), (result,), origin))
        return result

    def _constant(self, base: str, array: np.ndarray) -> str:
        name = self.names(base)
        self.constants[name] = array
        return name


def _check(integers: np.ndarray, form: Product, w: QParams) -> None:
    where = f"weights of {form.node.name}"
    if integers.shape != form.weights.shape or integers.dtype != w.dtype.numpy:
        raise BadInput(
            f"integers are {integers.dtype}{list(integers.shape)}, needs {w.dtype}{list(form.weights.shape)}",
            where=where,
        )
    if w.dtype not in (DType.I8, DType.U8, DType.I16):
        raise BadInput(f"products of weights of type {w.dtype} are not integer products", where=where)
