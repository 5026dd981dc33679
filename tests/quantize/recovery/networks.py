"""Small networks whose channels differ in size, and drafts of their quantised forms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Op
from edgesmith.ops.conv import Conv
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.window import Window
from edgesmith.quantize import Settings, open_samples
from edgesmith.quantize.assign import parameters_for
from edgesmith.quantize.calibration import calibrate
from edgesmith.quantize.evaluate import compare
from edgesmith.quantize.placement import place
from edgesmith.quantize.recovery import Draft, Evidence
from passes.graphs import Sketch

RUNS = 12


def conv(kernel: int = 1, group: int = 1, stride: int = 1) -> Conv:
    pad = kernel // 2
    return Conv(Window((kernel, kernel), (stride, stride), (pad, pad), (pad, pad), (1, 1)), group)


def uneven(activation: Op, between: Op | None = None, *, average: bool = True) -> Graph:
    """Conv, depthwise and pointwise Conv with ``activation`` between, channels from 1/64 to 4; 1x3x8x8 -> 1x5x1x1.

    Args:
        average: whether an average over all pixels follows.
    """
    sketch = Sketch()
    sketch.rng = np.random.default_rng(3)
    sizes = np.exp2(np.linspace(-6, 2, 8)).astype(np.float32)

    def weights(*shape: int, sizes: np.ndarray | float = 1.0) -> str:
        scale = np.asarray(sizes, np.float32).reshape(-1, *[1] * (len(shape) - 1))
        fan = np.sqrt(np.prod(shape[1:]))
        return sketch.constant(sketch.rng.standard_normal(shape).astype(np.float32) * scale / np.float32(fan))

    def bias(sizes: np.ndarray) -> str:
        return sketch.constant(np.abs(sketch.rng.standard_normal(8)).astype(np.float32) * sizes)

    x = sketch.input(1, 3, 8, 8)
    x = sketch.add(conv(3), x, weights(8, 3, 3, 3, sizes=sizes), bias(sizes))
    x = sketch.add(activation, x)
    if between is not None:
        x = sketch.add(between, x)
    x = sketch.add(conv(3, group=8), x, weights(8, 1, 3, 3), bias(sizes))
    x = sketch.add(activation, x)
    readers = sketch.rng.standard_normal((5, 8, 1, 1)).astype(np.float32) / sizes.reshape(1, 8, 1, 1)
    x = sketch.add(conv(), x, sketch.constant(readers), sketch.random(5))
    return sketch.graph(sketch.add(GlobalAveragePool(), x) if average else x)


def feeds(graph: Graph, count: int = RUNS) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(8)
    for _ in range(count):
        yield {v: rng.standard_normal(graph.type(v).shape).astype(np.float32) for v in graph.inputs}


def evidence(graph: Graph) -> Evidence:
    return Evidence(open_samples(lambda: feeds(graph), {v: graph.type(v) for v in graph.inputs}), RUNS)


def draft(graph: Graph, **settings: object) -> Draft:
    """Of a calibrated graph without any recovery."""
    chosen = Settings(**settings)  # type: ignore[arg-type]
    placement = place(graph, chosen)
    found = calibrate(graph, placement.values, evidence(graph).samples, chosen)
    return Draft(graph, graph, parameters_for(graph, placement, found.ranges, chosen), chosen)


def sqnr_db(made: Draft) -> float:
    """Of the only output."""
    errors = compare(made.exact, made.quantized(), feeds(made.exact), {})
    return errors[made.exact.outputs[0]].sqnr_db
