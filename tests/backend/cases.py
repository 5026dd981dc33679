"""The node tests of the ``onnx`` package for one operator, made in process: the wheel no longer ships their data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from edgesmith.frontend.limits import MAX_IR_VERSION, MIN_OPSET, TARGET_OPSET
from edgesmith.ops import OPS

__all__ = ["NodeCase", "node_cases"]


@dataclass(frozen=True, eq=False)
class NodeCase:
    """A model of one node with values for its inputs and what it must give.

    Args:
        rtol, atol: the case's own tolerances.
    """

    name: str
    op_type: str
    model: onnx.ModelProto
    inputs: Mapping[str, object]
    outputs: Mapping[str, object]
    rtol: float
    atol: float

    def compare(self, results: Mapping[str, np.ndarray]) -> None:
        """Raises ``AssertionError`` where an output differs."""
        for name, want in self.outputs.items():
            assert isinstance(want, np.ndarray)
            assert results[name].dtype == want.dtype, f"{name} is {results[name].dtype}, not {want.dtype}"
            np.testing.assert_allclose(results[name], want, rtol=self.rtol, atol=self.atol, err_msg=name)


@cache
def node_cases() -> Mapping[str, tuple[NodeCase, ...]]:
    """Cases by operator, for every operator that is registered and has some."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    found: dict[str, list[NodeCase]] = {}
    for case in collected:
        model = case.model
        nodes = model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OPS or nodes[0].domain not in ("", "ai.onnx"):
            continue
        ((inputs, outputs),) = case.data_sets
        found.setdefault(nodes[0].op_type, []).append(
            NodeCase(
                case.name,
                nodes[0].op_type,
                _within_opset(model),
                dict(zip((i.name for i in model.graph.input), map(_array, inputs), strict=True)),
                dict(zip((o.name for o in model.graph.output), map(_array, outputs), strict=True)),
                case.rtol,
                case.atol,
            )
        )
    return {op: tuple(cases) for op, cases in sorted(found.items())}


def _array(value: object) -> object:
    """Tensors as arrays; sequences and optional values stay."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _within_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model for an opset that ONNX Runtime supports.

    A newer form of an operator may use types and attributes that the older one lacks, and is then refused.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = min(result.ir_version, MAX_IR_VERSION)
    for entry in result.opset_import:
        entry.version = min(max(entry.version, MIN_OPSET), TARGET_OPSET)
    return result
