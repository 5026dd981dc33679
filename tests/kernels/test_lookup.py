"""Chains of elementwise operators from bytes to bytes as tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.region import region
from edgesmith.ops import OPS
from edgesmith.ops.quantize_linear import DequantizeLinear, QuantizeLinear
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import LAYOUTS, feeds, places

KERNEL = KERNELS["lookup"]


def chain(function: str, x: DType, y: DType, shape: tuple[int, ...] = (2, 40, 5, 7), factor: int = 1) -> Graph:
    """QuantizeLinear(f(DequantizeLinear(x)) * factors), every byte among x.

    Args:
        factor: elements of the factors.
    """
    constants = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(100, x.numpy),
        "factors": np.linspace(1, 2, factor, dtype=np.float32),
        "step": np.array(0.04, np.float32),
        "offset": np.array(7, y.numpy),
    }
    nodes = (
        Node("dequantize", DequantizeLinear(), ("x", "scale", "zero"), ("real",)),
        Node("function", OPS[function](), ("real",), ("made",)),
        Node("scale", OPS["Mul"](), ("made", "factors"), ("scaled",)),
        Node("quantize", QuantizeLinear(y), ("scaled", "step", "offset"), ("y",)),
    )
    types = {v: TensorType.of(a) for v, a in constants.items()}
    types |= {"x": TensorType(shape, x), "y": TensorType(shape, y)}
    types |= dict.fromkeys(("real", "made", "scaled"), TensorType(shape, DType.F32))
    return Graph(("x",), ("y",), nodes, types, constants)


def problem(graph: Graph, layout: str = "channels_last", target: str = "native") -> Problem:
    return Problem(graph, region(graph, graph.nodes, graph.nodes[0]), places(graph, layout), parse(target))


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["native", "portable"])
def test_a_table_gives_what_the_operators_do(target: str) -> None:
    graphs = [chain(f, x, y) for f in ("HardSwish", "Relu") for x in (DType.U8, DType.I8) for y in (DType.U8, DType.I8)]
    trials = [Trial(problem(g, layout, target), KERNEL, {}) for g in graphs for layout in LAYOUTS]
    library = TrialLibrary(trials, parse(target), zig(), ("-O1",))
    for i, graph in enumerate(g for g in graphs for _ in LAYOUTS):
        given = feeds(graph)
        for value, result in library.run(i, given).items():
            np.testing.assert_array_equal(result, graph.reference(given)[value])


def test_the_chain_competes_with_floats() -> None:
    graph = chain("HardSwish", DType.U8, DType.I8)
    proposed = [r.names for r in KERNEL.regions(graph, graph.nodes[0])]
    assert proposed == [frozenset(n.name for n in graph.nodes)]
    floats = KERNELS["elementwise"]
    assert floats.accepts(problem(graph)) is None and KERNEL.accepts(problem(graph)) is None


def test_what_is_no_function_of_one_byte_is_refused() -> None:
    def reason(graph: Graph) -> str:
        reject = KERNEL.accepts(problem(graph))
        assert reject is not None and not list(KERNEL.regions(graph, graph.nodes[0]))
        return reject.reason

    assert "differ from element to element" in reason(chain("Relu", DType.U8, DType.U8, (2, 3, 4, 8), 8))
    assert "not bytes" in reason(chain("Relu", DType.U8, DType.I16))
    graph = chain("Relu", DType.U8, DType.U8)
    other = replace(graph.nodes[2], inputs=("made", "z"))
    types = {**graph.types, "z": graph.types["made"]}
    graph = Graph(("x", "z"), ("y",), (*graph.nodes[:2], other, graph.nodes[3]), types, graph.constants)
    assert "one value" in reason(graph)
