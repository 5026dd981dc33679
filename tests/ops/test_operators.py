"""Every registered operator on its cases: types, numpy reference, ONNX Runtime, portable C.

A new operator is covered by being registered; one without cases fails.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgesmith.errors import UnsupportedOp
from edgesmith.export import to_onnx
from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import OPS, Elementwise, Operator
from edgesmith.ops.base import Case
from edgesmith.oracle import session

from .portable_c import check_portable
from .tolerance import tolerance

OPERATORS = {name: cls for name, cls in OPS.items() if cls.name == name}
"""Without the names that are bound to another operator, such as Flatten to Reshape."""


@dataclass(frozen=True)
class Use:
    """An operator's case with values for its inputs."""

    case: Case
    label: str

    @property
    def op(self) -> Operator:
        return self.case.op

    @property
    def operands(self) -> list[np.ndarray | None]:
        rng = np.random.default_rng(zlib.crc32(self.label.encode()))
        return [random_array(i, rng) if isinstance(i, TensorType) else i for i in self.case.inputs]

    def model(self) -> onnx.ModelProto:
        """The operator as ONNX; constants of the case are initialisers."""
        op_type, attributes, trailing = self.op.to_onnx()
        if not onnx.defs.has(op_type):
            return self._exported()
        attributes = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in attributes.items()}
        given = [*((a, not isinstance(i, TensorType)) for a, i in zip(self.operands, self.case.inputs, strict=True))]
        given += [(a, True) for a in trailing]
        outputs = [f"y{i}" for i in range(len(self.op.infer([_type(a) for a in self.operands])))]
        graph = helper.make_graph(
            [helper.make_node(op_type, [_name(i, a) for i, (a, _) in enumerate(given)], outputs, "node", **attributes)],
            "case",
            [
                helper.make_tensor_value_info(_name(i, a), helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for i, (a, constant) in enumerate(given)
                if a is not None and not constant
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [
                numpy_helper.from_array(a, _name(i, a))
                for i, (a, constant) in enumerate(given)
                if a is not None and constant
            ],
        )
        opset = helper.make_opsetid("", TARGET_OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=MAX_IR_VERSION)

    def _exported(self) -> onnx.ModelProto:
        """An operator that ONNX lacks, in the operators that the export spells it out in."""
        named = {_name(i, a): (a, t) for i, (a, t) in enumerate(zip(self.operands, self.case.inputs, strict=True))}
        constants = {v: t for v, (_, t) in named.items() if isinstance(t, np.ndarray)}
        inputs = tuple(v for v, (_, t) in named.items() if isinstance(t, TensorType))
        types = {v: TensorType.of(a) for v, (a, _) in named.items() if a is not None}
        (types["y0"],) = self.op.infer([types[v] for v in named])
        node = Node("node", self.op, tuple(named), ("y0",))
        return to_onnx(Graph(inputs, ("y0",), (node,), types, constants))

    def feeds(self) -> dict[str, np.ndarray]:
        pairs = zip(self.operands, self.case.inputs, strict=True)
        return {_name(i, a): a for i, (a, t) in enumerate(pairs) if a is not None and isinstance(t, TensorType)}


def _type(array: np.ndarray | None) -> TensorType | None:
    return None if array is None else TensorType.of(array)


def _name(index: int, array: np.ndarray | None) -> str:
    return "" if array is None else f"x{index}"


def random_array(kind: TensorType, rng: np.random.Generator) -> np.ndarray:
    """Normal floats; integers from 1 to 9, of either sign where there is one; even truth values."""
    if kind.dtype.is_float:
        return np.asarray(2 * rng.standard_normal(kind.shape), kind.dtype.numpy)
    if kind.dtype is DType.BOOL:
        return np.asarray(rng.integers(0, 2, kind.shape), bool)
    sign = rng.choice([-1, 1], kind.shape) if kind.dtype.is_signed else 1
    return np.asarray(sign * rng.integers(1, 10, kind.shape), kind.dtype.numpy)


def uses(names: Sequence[str] = tuple(OPERATORS)) -> Iterator[Use]:
    for name in names:
        for i, case in enumerate(OPERATORS[name].cases()):
            yield Use(case, f"{name}-{i}" + (f" {case.name}" if case.name else ""))


EVERY_USE = pytest.mark.parametrize("use", [pytest.param(u, id=u.label) for u in uses()])


def compare(use: Use, got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    """Equal up to ``tolerance``; NaN equals NaN."""
    for result, expected in zip(got, want, strict=True):
        limit = tolerance(use.op, use.operands, DType.of(expected.dtype))
        np.testing.assert_allclose(result, expected, rtol=0, atol=limit, err_msg=use.label)


@pytest.mark.parametrize("name", OPERATORS)
def test_has_cases(name: str) -> None:
    assert any(True for _ in OPERATORS[name].cases()), f"{name}.cases() yields nothing"


@EVERY_USE
def test_inferred_types_are_those_of_the_reference(use: Use) -> None:
    operands = use.operands
    inferred = use.op.infer([_type(a) for a in operands])
    assert tuple(TensorType.of(np.asarray(a)) for a in use.op.reference(*operands)) == inferred


@EVERY_USE
def test_reference_agrees_with_onnx_runtime(use: Use) -> None:
    """Or with the standard's own evaluator, where ONNX Runtime has no CPU kernel for the types."""
    model = use.model()
    try:
        expected = session(model).run(None, use.feeds())
    except UnsupportedOp:
        expected = ReferenceEvaluator(model).run(None, use.feeds())
    compare(use, use.op.reference(*use.operands), expected)


@EVERY_USE
def test_binding_undoes_to_onnx(use: Use) -> None:
    """The operator bound from its own ONNX form computes the same."""
    graph = bind(use.model())
    values = graph.reference(use.feeds())
    compare(use, [values[v] for v in graph.outputs], use.op.reference(*use.operands))


@EVERY_USE
def test_cost_and_length_are_sensible(use: Use) -> None:
    types = [_type(a) for a in use.operands]
    outputs = use.op.infer(types)
    cost = use.op.cost(types, outputs)
    assert cost.macs >= 0 and cost.flops >= 0
    assert use.op.reduction_length(types) >= 1
    assert 0 <= use.op.tasks(types, outputs) <= max(1, sum(t.size for t in outputs))


ELEMENTWISE = [name for name, op in OPERATORS.items() if issubclass(op, Elementwise)]
"""The others' portable C is tested by test_portable.py."""


@pytest.mark.toolchain
@pytest.mark.parametrize("part", range(6))
def test_portable_c_of_elementwise_operators(part: int, tmp_path: Path) -> None:
    chosen = list(uses(ELEMENTWISE[part::6]))

    check_portable([(u.op, u.operands) for u in chosen], tmp_path, bound=tolerance)


@pytest.mark.parametrize("name", ["Erf", "Sin", "Gelu", "Softplus", "Pow"])
def test_functions_are_refused_in_f64(name: str) -> None:
    cls = OPERATORS[name]
    wide = TensorType((3,), DType.F64)
    with pytest.raises(UnsupportedOp, match=name):
        cls().infer([wide] * getattr(cls, "arity", 1))


@pytest.mark.parametrize("name", ["Add", "Relu", "Sqrt", "ReduceSum", "LayerNormalization", "Softmax"])
def test_f16_is_refused(name: str) -> None:
    half = TensorType((2, 3), DType.F16)
    op = OPERATORS[name]((1,)) if name == "ReduceSum" else OPERATORS[name]()
    with pytest.raises(UnsupportedOp):
        op.infer([half] * getattr(op, "arity", 1))
