"""Random nodes through the whole pipeline: views, copies and kernels as the planner chooses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import helper

import edgesmith.api
from edgesmith.oracle import session

from .nodes import NODES
from .single_node import SingleNode


def _joined(cases: list[SingleNode]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """One model of independent nodes, and its inputs."""
    nodes, inputs, outputs, constants, feeds = [], [], [], [], {}
    for i, case in enumerate(cases):
        model = onnx.compose.add_prefix(case.model, f"n{i}_")
        values = case.expected()
        nodes += model.graph.node
        inputs += model.graph.input
        constants += model.graph.initializer
        outputs += [
            helper.make_tensor_value_info(o.name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for o, v in zip(model.graph.output, values, strict=True)
        ]
        feeds.update({f"n{i}_{name}": array for name, array in case.feeds.items()})
    graph = helper.make_graph(nodes, "joined", inputs, outputs, constants)
    first = cases[0].model
    return helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version), feeds


def _compiles(case: SingleNode) -> bool:
    """False for what the pipeline as a whole does not take."""
    (first, *_) = results = case.expected()
    return (
        all(r.size for r in results)
        # The program's self-test draws its own inputs, which need not be valid indices.
        and ("Gather" not in case.op_type or 1 in case.constant)
        # The standard's shape inference gives up on a scalar.
        and (case.op_type != "GatherND" or first.ndim > 0)
        # The target opset no longer has this mode.
        and "tf_half_pixel_for_nn" not in case.attributes.values()
    )


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["portable", "native"])
def test_compiled_nodes_equal_onnx_runtime(target: str, tmp_path: Path) -> None:
    number = iter(range(1000))

    # Without shrinking: each step would compile a program.
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(st.tuples(*(NODES[kind] for kind in NODES for _ in range(2))))
    def check(cases: tuple[SingleNode, ...]) -> None:
        kept = [case for case in cases if _compiles(case)]
        model, feeds = _joined(kept)
        artifact = edgesmith.api.compile(model, target=target, output=tmp_path / str(next(number)))
        results = artifact(**feeds)
        expected = session(model, optimized=False).run(None, feeds)
        for output, want in zip(model.graph.output, expected, strict=True):
            got = results[output.name]  # type: ignore[index]
            close = np.allclose(got, want, rtol=1e-5, atol=1e-5, equal_nan=True)
            assert close, f"{output.name}: {kept[int(output.name[1:].split('_')[0])]}"

    check()
