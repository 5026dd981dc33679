"""Networks that are computed patch by patch give what they give whole, and need less memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.errors import BadInput
from edgesmith.ir import DType, Graph
from edgesmith.ops import OPS
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.conv import Conv
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.plan import Lock, Patching, divided, make_plan
from edgesmith.plan.fit import demands, ram_bytes
from edgesmith.plan.fitting import fit
from edgesmith.plan.patches import head_of
from edgesmith.target import parse
from passes.graphs import Sketch
from passes.quantized import QuantizedSketch

from .memory import check_memory

RELU, ADD = OPS["Relu"](), OPS["Add"]()
M4 = parse("thumb-freestanding-eabihf+fpv4")


def window(kernel: int, stride: int = 1, dilation: int = 1) -> Window:
    pad = (kernel - 1) * dilation // 2
    return Window((kernel,) * 2, (stride,) * 2, (pad,) * 2, (pad,) * 2, (dilation,) * 2)


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Convolutions, pools, residuals and constants that differ from pixel to pixel, on images of odd sizes."""
    s = Sketch()
    channels = 3
    x = s.input(1, channels, draw(st.integers(9, 23)), draw(st.integers(9, 23)))
    for kind in draw(st.lists(st.sampled_from(["conv", "depthwise", "max", "average", "residual", "map"]), max_size=5)):
        stride = draw(st.integers(1, 2))
        if kind == "conv":
            wider = draw(st.integers(1, 5))
            kernel, dilation = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 1)]))
            weights = s.random(wider, channels, kernel, kernel)
            x, channels = s.add(Conv(window(kernel, stride, dilation), 1), x, weights, s.random(wider)), wider
        elif kind == "depthwise":
            x = s.add(Conv(window(3, stride), channels), x, s.random(channels, 1, 3, 3))
        elif kind == "max":
            x = s.add(MaxPool(window(3, stride)), x)
        elif kind == "average":
            x = s.add(AveragePool(window(3, stride), draw(st.booleans())), x)
        elif kind == "residual":
            y = s.add(RELU, s.add(Conv(window(3), 1), x, s.random(channels, channels, 3, 3)))
            x = s.add(ADD, x, y)
        else:
            x = s.add(ADD, x, s.random(*s.types[x].shape[2:]))
    x = s.add(RELU, x)
    return s.graph(s.add(OPS["GlobalAveragePool"](), x))


@settings(max_examples=40, deadline=None)
@given(networks(), st.data())
def test_the_values_are_those_of_the_whole(graph: Graph, data: st.DataObject) -> None:
    (value,) = graph.producer(graph.outputs[0]).read  # type: ignore[union-attr]
    height, width = graph.type(value).shape[2:]
    rows, columns = data.draw(st.integers(1, min(height, 5))), data.draw(st.integers(1, min(width, 5)))
    parts = divided(graph, Patching(value, rows, columns))
    feeds = {graph.inputs[0]: np.random.default_rng(1).integers(-8, 8, graph.type(graph.inputs[0]).shape, np.int8)}
    feeds = {v: a.astype(np.float32) for v, a in feeds.items()}
    np.testing.assert_allclose(parts.reference(feeds)[value], graph.reference(feeds)[value], rtol=1e-5, atol=1e-4)


def quantized_network(kind: DType = DType.I8) -> Graph:
    """A depthwise layer, a residual and a stride; the first values are the largest."""
    s = QuantizedSketch(kind=kind)
    x = s.activation(1, 1, 24, 20)

    def conv(x: str, out: int, into: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        weights = s.weights(out, into, kernel, kernel)
        y = s.add(Conv(window(kernel, stride), group), x, weights, s.bias(x, weights, out))
        return s.qdq(s.add(RELU, y), 0.1)

    x = conv(x, 8, 1, 3)
    x = conv(x, 8, 1, 3, group=8)
    x = s.qdq(s.add(ADD, x, conv(x, 8, 8, 1)), 0.1)
    x = conv(x, 8, 8, 3, 2)
    x = s.qdq(s.add(OPS["GlobalAveragePool"](), x), 0.05)
    return optimize(s.graph(x))[0]


def heads(graph: Graph) -> list[str]:
    """The images of bytes that can be computed patch by patch, in the order of execution."""
    made = [n.outputs[0] for n in graph.nodes]
    images = [v for v in made if graph.type(v).dtype is DType.I8 and graph.type(v).shape[2:] > (1, 1)]
    return [v for v in images if head_of(graph, v)]


@pytest.mark.parametrize("grid", [(3, 2)])
def test_integers_are_the_same_bits_and_plans_keep_their_memory_apart(grid: tuple[int, int]) -> None:
    graph = quantized_network()
    values = heads(graph)
    assert len(values) >= 4
    x = np.random.default_rng(2).standard_normal((1, 1, 24, 20)).astype(np.float32)
    want = graph.reference({graph.inputs[0]: x})
    for value in values:
        got = divided(graph, Patching(value, *grid)).reference({graph.inputs[0]: x})
        for name in (value, *graph.outputs):
            np.testing.assert_array_equal(got[name], want[name])
    plan = make_plan(graph, M4, patching=Patching(values[-1], *grid))
    check_memory(plan)
    again = make_plan(graph, M4, lock=Lock.from_json(plan.lock.to_json()))
    assert again.lock == plan.lock and again.buffers == plan.buffers


def test_a_limit_brings_patches_and_no_limit_does_not() -> None:
    graph = quantized_network()
    whole = fit(lambda p: make_plan(graph, M4, patching=p), 0)
    assert whole.patching is None and not whole.tried
    limit = ram_bytes(whole) * 4 // 5
    plan = fit(lambda p: make_plan(graph, M4, patching=p), limit)
    assert plan.patching is not None and ram_bytes(plan) <= limit
    assert max(d.nbytes for d in demands(plan)) <= ram_bytes(plan)
    assert any("whole images" in line for line in plan.tried)


def test_what_cannot_be_computed_patch_by_patch() -> None:
    graph = quantized_network()
    for value in (*graph.inputs, *graph.outputs, "no such value"):
        with pytest.raises(BadInput, match="cannot be computed patch by patch"):
            divided(graph, Patching(value, 2, 2))
    with pytest.raises(BadInput, match="patches of"):
        divided(graph, Patching(heads(graph)[-1], 1000, 1))


def test_depthwise_layers_write_over_their_input() -> None:
    plan = make_plan(quantized_network(), M4)
    planes = [s for s in plan.steps if s.kernel.name == "integer-planes"]
    in_place = [s for s in planes if plan.buffers[s.region.outputs[0]].at == plan.buffers[s.region.inputs[0]].at]
    assert planes and in_place
    check_memory(plan)
