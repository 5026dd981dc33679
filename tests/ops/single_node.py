"""One ONNX node as a test case: what ONNX Runtime makes of it, and what the bound operator makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import Operator
from edgesmith.ops.resize import Resize
from edgesmith.oracle import session


@dataclass(frozen=True, eq=False)
class SingleNode:
    """A node with values for its inputs.

    Args:
        inputs: operand values; None for an absent one.
        constant: positions of the operands known at compile time.
        outputs: number of outputs that are used.
    """

    op_type: str
    attributes: Mapping[str, object]
    inputs: Sequence[np.ndarray | None]
    constant: frozenset[int] = frozenset()
    outputs: int = 1

    def __repr__(self) -> str:
        shown = ", ".join(
            "-" if a is None else f"{a.dtype}{list(a.shape)}{a.tolist() if i in self.constant and a.size < 20 else ''}"
            for i, a in enumerate(self.inputs)
        )
        return f"{self.op_type}({dict(self.attributes)}; {shown})"

    @cached_property
    def model(self) -> onnx.ModelProto:
        names = ["" if a is None else f"x{i}" for i, a in enumerate(self.inputs)]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op_type, names, outputs, "node", **self.attributes)
        graph = helper.make_graph(
            [node],
            "single",
            [
                helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for i, a in enumerate(self.inputs)
                if a is not None and i not in self.constant
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(self._operand(i), f"x{i}") for i in sorted(self.constant)],
        )
        opset = helper.make_opsetid("", TARGET_OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=MAX_IR_VERSION)

    def _operand(self, index: int) -> np.ndarray:
        operand = self.inputs[index]
        assert operand is not None
        return operand

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": a for i, a in enumerate(self.inputs) if a is not None and i not in self.constant}

    @cached_property
    def graph(self) -> Graph:
        """The node bound to an operator."""
        graph = bind(self.model)
        graph.check()
        return graph

    @property
    def node(self) -> Node:
        (node,) = self.graph.nodes
        return node

    @property
    def op(self) -> Operator:
        assert isinstance(self.node.op, Operator)
        return self.node.op

    @property
    def operands(self) -> list[np.ndarray | None]:
        """The operator's inputs, constants included."""
        values = {**self.graph.constants, **self.feeds}
        return [values[v] if v else None for v in self.node.inputs]

    def expected(self) -> list[np.ndarray]:
        """What ONNX Runtime computes."""
        return list(session(self.model, optimized=False).run(None, self.feeds))

    def reference(self) -> list[np.ndarray]:
        """What the operator's numpy reference computes."""
        return list(self.op.reference(*self.operands))[: self.outputs]


def rounding_bound(op: Operator, operands: Sequence[np.ndarray | None], dtype: DType) -> np.ndarray | float:
    """Largest difference between two evaluations of an operator that sums products, in any order.

    Each is within gamma_n = n u / (1 - n u) times the sum of the magnitudes of its n terms (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1); that sum is the operator applied to magnitudes.
    """
    if not dtype.is_float:
        return 0.0
    types = [None if a is None else TensorType.of(a) for a in operands]
    # Besides the sum: a product or quotient per term, and the rounding of the result.
    n = op.reduction_length(types) + 2
    if op.reduction_length(types) == 1:
        return 0.0
    gamma = n * dtype.unit_roundoff / (1 - n * dtype.unit_roundoff)
    return 2 * gamma * _magnitude(op, operands) + float(np.finfo(dtype.numpy).tiny)


def _magnitude(op: Operator, operands: Sequence[np.ndarray | None]) -> np.ndarray | float:
    """The sum of the magnitudes of the terms behind each output element, or a bound of it."""
    magnitudes = [abs(a) if a is not None and a.dtype.kind == "f" else a for a in operands]
    if isinstance(op, Resize):  # cubic weights may be negative, or NaN where all taps are excluded
        (x,) = magnitudes
        assert x is not None
        weights = [np.nansum(np.abs(op.sampling.sample(a).weights), axis=1) for a in op.sampling.resolve(x.shape)]
        return float(x.max() * np.prod([w.max() for w in weights]))
    return np.abs(op.reference(*magnitudes)[0])


def assert_same(got: np.ndarray, want: np.ndarray, bound: np.ndarray | float, what: object) -> None:
    """Same type, shape and elements, up to ``bound``; NaN equals NaN."""
    assert TensorType.of(got) == TensorType.of(want), what
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, str(what))
        return
    with np.errstate(invalid="ignore"):
        far = ~((got == want) | (np.isnan(got) & np.isnan(want)) | (np.abs(got.astype(float) - want) <= bound))
    assert not far.any(), f"{what}: {far.sum()} of {far.size} differ, such as {got[far][0]} from {want[far][0]}"


def check_reference(case: SingleNode) -> None:
    """The bound operator's reference agrees with ONNX Runtime."""
    dtype = case.graph.type(case.node.outputs[0]).dtype
    bound = rounding_bound(case.op, case.operands, dtype)
    for got, want in zip(case.reference(), case.expected(), strict=True):
        assert_same(got, want, bound, case)
