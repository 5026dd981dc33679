"""Quantised graphs for the tests of passes, and how far their integers may be from the original's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.quantize_by_axis import DequantizeLinearByAxis
from edgesmith.ops.quantize_linear import DequantizeLinear, QuantizeLinear
from edgesmith.oracle import Oracle
from edgesmith.passes import PassReport, optimize

from .graphs import Sketch

NEAR_A_TIE = 0.01
"""Steps: how near to the middle of two integers a number must be for roundings of f32 to decide between them.

The models of these tests have sums of less than 300 products, and integers below 2**8: 300 * 2**-24 * 2**8 < 0.01.
"""


class QuantizedSketch(Sketch):
    """A graph under construction whose activations are quantised."""

    def __init__(self, seed: int = 11, kind: DType = DType.U8) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.kind = kind

    def _parameters(self, scale: float | np.ndarray, zero: int | np.ndarray, dtype: DType) -> tuple[str, str]:
        return self.constant(np.asarray(scale, np.float32)), self.constant(np.asarray(zero, dtype.numpy))

    def q(self, value: str, scale: float, zero: int, dtype: DType | None = None) -> str:
        dtype = dtype or self.kind
        return self.add(QuantizeLinear(dtype), value, *self._parameters(scale, zero, dtype))

    def dq(self, value: str, scale: float | np.ndarray, zero: int | np.ndarray, axis: int | None = None) -> str:
        op = DequantizeLinear() if np.size(scale) == 1 else DequantizeLinearByAxis(axis or 0)
        return self.add(op, value, *self._parameters(scale, zero, self.types[value].dtype))

    def qdq(self, value: str, scale: float, zero: int | None = None) -> str:
        zero = zero if zero is not None else (128 if self.kind is DType.U8 else 3)
        return self.dq(self.q(value, scale, zero), scale, zero)

    def activation(self, *shape: int, scale: float = 0.05, zero: int | None = None) -> str:
        """A dequantised input."""
        return self.qdq(self.input(*shape), scale, zero)

    def weights(
        self, *shape: int, axis: int | None = 0, dtype: DType = DType.I8, scale: float = 0.02, zero: int = 0
    ) -> str:
        """Dequantised random weights, by channel or not (None)."""
        limits = np.iinfo(dtype.numpy)
        integers = self.rng.integers(max(limits.min, -127), limits.max, shape, endpoint=True).astype(dtype.numpy)
        if axis is None:
            return self.dq(self.constant(integers), scale, zero)
        scales = scale * self.rng.uniform(0.5, 1.5, shape[axis])
        return self.dq(self.constant(integers), scales, np.full(shape[axis], zero), axis)

    def bias(self, x: str, w: str, channels: int) -> str:
        """A dequantised i32 bias in units of the products' scale."""
        scales = [self.constants[self.maker(v).inputs[1]].astype(np.float64) for v in (x, w)]
        scale = (scales[0] * scales[1]).reshape(-1)
        number = self.constant(self.rng.integers(-3000, 3000, channels).astype(np.int32))
        return self.dq(number, scale if scale.size > 1 else scale[0], np.zeros(scale.shape, int).squeeze(), 0)

    def maker(self, value: str) -> Node:
        return next(n for n in self.nodes if value in n.outputs)


def feeds_of(graph: Graph, seed: int = 3) -> dict[str, np.ndarray]:
    """Values of the inputs that use most of the range of a quantiser of scale 0.05."""
    rng = np.random.default_rng(seed)
    return {v: (rng.standard_normal(graph.type(v).shape) * 2.5).astype(np.float32) for v in graph.inputs}


def assert_steps(
    before: Graph, after: Graph, feeds: Mapping[str, np.ndarray], float_error: float = 0.0, tie: float = NEAR_A_TIE
) -> int:
    """Check each layer of ``after`` on ``before``'s integers; returns how many elements differ.

    Every quantised value that both have is the same, or one step away where the original's number lies in the middle of
    two integers but for roundings.
    """
    expected = before.reference(feeds)
    values: dict[str, np.ndarray] = {**after.constants, **feeds}
    differing = 0
    for node in after.nodes:
        results = node.op.reference(*(values[v] if v else None for v in node.inputs))
        for value, result in zip(node.outputs, results, strict=True):
            values[value] = result
            if value not in before.types:
                continue
            want = values[value] = expected[value]
            if result.dtype.kind == "f":
                size = max(float(np.abs(want).max(initial=0)), 1.0)
                np.testing.assert_allclose(result, want, rtol=1e-5, atol=1e-5 * size + float_error, err_msg=value)
                continue
            off = result != want
            differing += int(off.sum())
            assert np.abs(result.astype(int) - want.astype(int)).max(initial=0) <= 1, value
            if off.any():
                _assert_ties(before, value, expected, off, tie)
    return differing


def _assert_ties(before: Graph, value: str, expected: Mapping[str, np.ndarray], off: np.ndarray, tie: float) -> None:
    """Every element in ``off`` of a quantised value comes from a number in the middle of two integers."""
    node = before.producer(value)
    while node is not None and node.op.name != "QuantizeLinear":
        # What moves integers has them from one quantiser, but in another order: the nearest tie decides.
        node, off = before.producer(node.inputs[0]), np.ones((), bool)
    assert node is not None, value
    steps = expected[node.inputs[0]].astype(np.float64) / expected[node.inputs[1]].astype(np.float64)
    distance = np.abs(np.abs(steps - np.floor(steps)) - 0.5)
    assert (distance[off] if off.shape else distance.min()).max() <= tie, value


def integers(
    graph: Graph,
    seed: int = 3,
    *,
    only: frozenset[str] | None = None,
    layers: int = 1,
    float_error: float = 0.0,
    tie: float = NEAR_A_TIE,
) -> tuple[Graph, PassReport]:
    """The graph after the passes, checked layer by layer against the original and as a whole against ONNX Runtime.

    Args:
        layers: how many quantisers follow one another; each may turn a tie the other way.
        float_error: allowed at values of f32 beyond rounding.
        tie: see ``NEAR_A_TIE``.
    """
    result, report = optimize(graph, only)
    assert report.settled
    result.check()
    assert (result.inputs, result.outputs) == (graph.inputs, graph.outputs)
    feeds = feeds_of(graph, seed)
    assert_steps(graph, result, feeds, float_error, tie)
    ours, theirs = result.reference(feeds), Oracle(to_onnx(graph), optimized=False).run(feeds)
    for value in graph.outputs:
        want = theirs[value].astype(np.float64)
        difference = np.abs(ours[value] - want)
        if theirs[value].dtype.kind in "iu":
            if layers == 1:
                assert difference.max(initial=0) <= 1, value
            # A tie that turned changes what follows, by any number of steps where factors are large.
            assert difference.sum() <= max(3, 0.05 * difference.size) * layers, value
        elif layers == 1:
            assert difference.max(initial=0) <= float_error + 1e-5 * max(1.0, np.abs(want).max(initial=0)), value
    return result, report
