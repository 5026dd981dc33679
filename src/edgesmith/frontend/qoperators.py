"""QOperator models as QDQ models: float operators between DequantizeLinear and QuantizeLinear.

ONNX Runtime's operators are described in https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.frontend.structure import label, name_nodes

__all__ = ["to_qdq"]

VENDOR = "com.microsoft"
AXIS_OPSET = 13
"""From here on, DequantizeLinear takes a scale for each index of an axis."""


def to_qdq(graph: GraphProto, opset: int, constants: Mapping[str, TensorProto]) -> None:
    """Rewrite the quantised operators of a graph in place; outputs keep their names, nodes get unique ones.

    What the opset cannot express as QDQ (scales by channel before opset 13) is left where it is standard ONNX.

    Args:
        constants: initialisers by name, Constant nodes aside.

    Raises:
        UnsupportedOp: a quantised operator of ONNX Runtime, or a use of it, that has no such form here.
    """
    if not any((node.domain, node.op_type) in _REWRITES or node.domain == VENDOR for node in graph.node):
        return
    rewriting = _Rewriting(graph, opset, {**constants, **_constant_nodes(graph)})
    for node in graph.node:
        rewrite = _REWRITES.get((node.domain, node.op_type))
        if rewrite is None and node.domain == VENDOR:
            raise UnsupportedOp(
                f"operator {VENDOR}.{node.op_type} is not part of standard ONNX",
                where=label(node),
                hint="Export the model without it, or quantise in the format QDQ.",
            )
        if rewrite is None or not rewriting.expressible(node):
            rewriting.nodes.append(node)
            continue
        try:
            rewrite(rewriting, node)
        except IndexError as error:
            raise ModelError(f"it has {len(node.input)} inputs, which is too few", where=label(node)) from error
    del graph.node[:]
    graph.node.extend(rewriting.nodes)
    name_nodes(graph)


def _constant_nodes(graph: GraphProto) -> dict[str, TensorProto]:
    return {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.type == AttributeProto.TENSOR
    }


@dataclass
class _Rewriting:
    graph: GraphProto
    opset: int
    constants: Mapping[str, TensorProto]
    nodes: list[NodeProto] = field(default_factory=list)
    _floats: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Value, scale and zero point that were dequantised -> the result."""
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for node in self.graph.node:
            self._taken.update(node.output)
        self._taken.update(self.constants, (v.name for v in (*self.graph.input, *self.graph.initializer)))

    def name(self, base: str) -> str:
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}~{number}"
        self._taken.add(name)
        return name

    def size(self, value: str) -> int:
        """Number of elements of a constant; what is computed at run time counts as one number."""
        tensor = self.constants.get(value)
        return 1 if tensor is None else math.prod(tensor.dims)

    def expressible(self, node: NodeProto) -> bool:
        """Whether the opset has the QDQ form of a standard operator; raises for one that nothing else can state."""
        by_channel = any(self.size(v) > 1 for v in _scales(node))
        if by_channel and self.opset < AXIS_OPSET and node.domain == VENDOR:
            raise UnsupportedOp(
                f"scales by channel need opset {AXIS_OPSET}, the model has {self.opset}",
                where=label(node),
                hint="Quantise a model of a newer opset.",
            )
        return not by_channel or self.opset >= AXIS_OPSET

    def add(self, kind: str, inputs: Sequence[str], base: str, **attributes: Any) -> str:
        """Append a node; its output is called ``base``, with a number where that is taken."""
        output = self.name(base)
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        self.nodes.append(helper.make_node(kind, given, [output], output, **attributes))
        return output

    def dequantized(self, node: NodeProto, first: int, axis: int | None = None) -> str:
        """Inputs number ``first`` and the next two of a node (value, scale, zero point) as floats.

        Args:
            axis: where scales by channel belong; None: there can be none.
        """
        value, scale, zero = (*node.input, *[""] * 3)[first : first + 3]
        return self.dequantize(node, value, scale, zero, axis)

    def dequantize(self, node: NodeProto, value: str, scale: str, zero: str, axis: int | None = None) -> str:
        by_channel = self.size(scale) > 1
        if by_channel and axis is None:
            raise UnsupportedOp(f"{value!r} has a scale for each channel", where=label(node))
        if by_channel and zero and self.size(zero) == 1:
            zero = self.add("Expand", (zero, self.add("Shape", (scale,), f"{scale}:shape")), f"{zero}:by channel")
        key = (value, scale, zero)
        if key not in self._floats:
            attributes: dict[str, Any] = {"axis": axis} if by_channel else {}
            self._floats[key] = self.add("DequantizeLinear", key, f"{value}:dequantized", **attributes)
        return self._floats[key]

    def compute(self, node: NodeProto, kind: str, inputs: Sequence[str], dropped: Sequence[str] = ()) -> str:
        """Append the float operator, with the node's attributes but for some; returns its result."""
        result = self.add(kind, inputs, f"{node.output[0]}:float")
        self.nodes[-1].name = node.name
        self.nodes[-1].attribute.extend(a for a in node.attribute if a.name not in dropped)
        return result

    def quantize(self, node: NodeProto, value: str, scale: str, zero: str, like: str = "") -> None:
        """Append the QuantizeLinear that makes the node's output.

        Args:
            like: a zero point of the output's type, where the output has none of its own.
        """
        if self.size(scale) > 1:
            raise UnsupportedOp("its result has a scale for each channel", where=label(node))
        if not zero and like in self.constants and self.constants[like].data_type != TensorProto.UINT8:
            zero = self.name(f"{node.output[0]}:zero point")
            kind = helper.tensor_dtype_to_np_dtype(self.constants[like].data_type)
            self.graph.initializer.append(numpy_helper.from_array(np.zeros((), kind), zero))
        inputs = [value, scale, *([zero] if zero else [])]
        self.nodes.append(helper.make_node("QuantizeLinear", inputs, list(node.output)[:1]))


_Rewrite = Callable[[_Rewriting, NodeProto], None]
_REWRITES: dict[tuple[str, str], _Rewrite] = {}


def _rewrites(domain: str, *kinds: str) -> Callable[[_Rewrite], _Rewrite]:
    def register(function: _Rewrite) -> _Rewrite:
        _REWRITES.update({(domain, kind): function for kind in kinds})
        return function

    return register


def _scales(node: NodeProto) -> list[str]:
    """The inputs that may be scales by channel."""
    places = {"QLinearConv": (1, 4), "QLinearMatMul": (1, 4), "QGemm": (4,), "MatMulIntegerToFloat": ()}
    return [node.input[i] for i in places.get(node.op_type, ()) if i < len(node.input)]


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return found[0] if found else default


def _input(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


@_rewrites("", "QLinearConv")
def _conv(r: _Rewriting, node: NodeProto) -> None:
    x, w = r.dequantized(node, 0), r.dequantized(node, 3, 0)
    inputs = [x, w]
    bias = _input(node, 8)
    if bias:
        inputs.append(r.dequantize(node, bias, _product_scale(r, node, 1, 4), "", 0))
    r.quantize(node, r.compute(node, "Conv", inputs), node.input[6], node.input[7])


def _product_scale(r: _Rewriting, node: NodeProto, first: int, second: int, factor: float = 1.0) -> str:
    """The product of two scales, which sums of products have, as a value."""
    scales = [node.input[first], node.input[second]]
    arrays = [numpy_helper.to_array(r.constants[v]) for v in scales if v in r.constants]
    if len(arrays) < 2:
        raise UnsupportedOp("a scale of its operands is computed at run time", where=label(node))
    product = arrays[0].reshape(-1).astype(np.float64) * arrays[1].reshape(-1) * factor
    name = r.name(f"{node.output[0]}:scale of sums")
    tensor = numpy_helper.from_array(product.astype(np.float32).reshape(() if product.size == 1 else -1), name)
    r.graph.initializer.append(tensor)
    r.constants = {**r.constants, name: tensor}
    return name


@_rewrites("", "QLinearMatMul")
def _matmul(r: _Rewriting, node: NodeProto) -> None:
    a, b = r.dequantized(node, 0), r.dequantized(node, 3, -1)
    r.quantize(node, r.compute(node, "MatMul", (a, b)), node.input[6], node.input[7])


@_rewrites(VENDOR, "QGemm")
def _gemm(r: _Rewriting, node: NodeProto) -> None:
    transposed = bool(_attribute(node, "transB", 0))
    inputs = [r.dequantized(node, 0), r.dequantized(node, 3, 0 if transposed else 1)]
    bias = _input(node, 6)
    if bias:
        factor = float(_attribute(node, "alpha", 1.0))
        inputs.append(r.dequantize(node, bias, _product_scale(r, node, 1, 4, factor), "", 0))
    y = r.compute(node, "Gemm", inputs)
    if _input(node, 7):
        r.quantize(node, y, node.input[7], _input(node, 8), node.input[2])
    else:
        r.nodes[-1].output[:] = node.output


@_rewrites(VENDOR, "QLinearAdd", "QLinearMul")
def _binary(r: _Rewriting, node: NodeProto) -> None:
    operands = r.dequantized(node, 0), r.dequantized(node, 3)
    y = r.compute(node, node.op_type.removeprefix("QLinear"), operands)
    r.quantize(node, y, node.input[6], _input(node, 7), node.input[2])


@_rewrites(VENDOR, "QLinearConcat")
def _concat(r: _Rewriting, node: NodeProto) -> None:
    parts = [r.dequantized(node, i) for i in range(2, len(node.input), 3)]
    r.quantize(node, r.compute(node, "Concat", parts), node.input[0], node.input[1])


@_rewrites(VENDOR, "QLinearWhere")
def _where(r: _Rewriting, node: NodeProto) -> None:
    inputs = (node.input[0], r.dequantized(node, 1), r.dequantized(node, 4))
    r.quantize(node, r.compute(node, "Where", inputs), node.input[7], _input(node, 8), node.input[3])


@_rewrites(VENDOR, "QLinearAveragePool", "QLinearGlobalAveragePool")
def _pool(r: _Rewriting, node: NodeProto) -> None:
    if _attribute(node, "channels_last", 0):
        raise UnsupportedOp("its input has channels last", where=label(node), hint="Export the model in NCHW.")
    kind = node.op_type.removeprefix("QLinear")
    y = r.compute(node, kind, (r.dequantized(node, 0),), ("channels_last",))
    r.quantize(node, y, node.input[3], _input(node, 4), node.input[2])


@_rewrites(VENDOR, "QLinearSigmoid", "QLinearLeakyRelu")
def _unary(r: _Rewriting, node: NodeProto) -> None:
    y = r.compute(node, node.op_type.removeprefix("QLinear"), (r.dequantized(node, 0),))
    r.quantize(node, y, node.input[3], _input(node, 4), node.input[2])


@_rewrites(VENDOR, "QLinearSoftmax")
def _softmax(r: _Rewriting, node: NodeProto) -> None:
    """Before opset 13, Softmax took everything from the axis on as one; with the last axis there is no difference."""
    rule, axis = int(_attribute(node, "opset", r.opset)), int(_attribute(node, "axis", -1))
    if axis != -1 and (rule < AXIS_OPSET) != (r.opset < AXIS_OPSET):
        raise UnsupportedOp(
            f"it follows opset {rule} on axis {axis}, the model opset {r.opset}",
            where=label(node),
            hint="Export the float model with a newer opset.",
        )
    y = r.compute(node, "Softmax", (r.dequantized(node, 0),), ("opset",))
    r.quantize(node, y, node.input[3], _input(node, 4), node.input[2])


@_rewrites(VENDOR, "QuantizeLinear", "DequantizeLinear")
def _conversion(r: _Rewriting, node: NodeProto) -> None:
    """As the standard operators, for 16-bit integers before opset 21."""
    standard = NodeProto()
    standard.CopyFrom(node)
    standard.domain = ""
    r.nodes.append(standard)


@_rewrites(VENDOR, "MatMulIntegerToFloat")
def _matmul_to_float(r: _Rewriting, node: NodeProto) -> None:
    a, b, a_scale, b_scale, a_zero, b_zero, bias = (*node.input, *[""] * 7)[:7]
    _scaled_sums(r, node, (a, b, a_zero, b_zero), (a_scale, b_scale), bias)


@_rewrites(VENDOR, "DynamicQuantizeMatMul")
def _dynamic_matmul(r: _Rewriting, node: NodeProto) -> None:
    a, b, b_scale, b_zero, bias = (*node.input, *[""] * 5)[:5]
    outputs = [r.name(f"{node.output[0]}:{part}") for part in ("integers", "scale", "zero point")]
    r.nodes.append(helper.make_node("DynamicQuantizeLinear", [a], outputs))
    _scaled_sums(r, node, (outputs[0], b, outputs[2], b_zero), (outputs[1], b_scale), bias)


def _scaled_sums(r: _Rewriting, node: NodeProto, operands: Sequence[str], scales: Sequence[str], bias: str) -> None:
    """Append MatMulInteger, its result times both scales, and the bias."""
    y = node.output[0]
    sums = r.add("MatMulInteger", operands, f"{y}:sums")
    r.nodes[-1].name = node.name
    steps = r.add("Cast", (sums,), f"{y}:steps", to=TensorProto.FLOAT)
    result = r.add("Mul", (steps, r.add("Mul", scales, f"{y}:scale")), f"{y}:scaled")
    if bias:
        r.add("Add", (result, bias), f"{y}:biased")
    r.nodes[-1].output[:] = node.output
