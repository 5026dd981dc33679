"""Choosing between floats and integers by time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels import Kernel, Problem, Schedule
from edgesmith.ops import OPS
from edgesmith.ops.base import f32
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.quantize.insert import quantized_graph
from edgesmith.quantize.parameters import Parameters, QParams
from edgesmith.quantize.settings import Settings
from edgesmith.target import parse
from edgesmith.tune.precision import Links, _cheapest, choose_precision

LAYERS = ("a", "b", "c", "d")
SINGLE = ("gemm", "integer-tiles", "elementwise", "copy")
"""Kernels that compute one layer at a time."""
POINT = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)))


def network() -> Graph:
    """Four pointwise convolutions of different sizes, each with a Relu."""
    rng = np.random.default_rng(0)
    widths = (8, 16, 24, 32, 40)
    types, constants, nodes, value = {"x": f32(1, widths[0], 8, 8)}, {}, [], "x"
    for name, (before, after) in zip(LAYERS, itertools.pairwise(widths), strict=True):
        constants[f"w{name}"] = rng.standard_normal((after, before, 1, 1), np.float32)
        nodes += [
            Node(name, POINT, (value, f"w{name}"), (f"{name}:sum",)),
            Node(f"{name}:relu", OPS["Relu"](), (f"{name}:sum",), (f"{name}:out",)),
        ]
        types |= {f"w{name}": f32(after, before, 1, 1)}
        types |= dict.fromkeys((f"{name}:sum", f"{name}:out"), f32(1, after, 8, 8))
        value = f"{name}:out"
    return Graph(("x",), (value,), tuple(nodes), types, constants)


def graph_of(floats: frozenset[str]) -> Graph:
    """The network with some layers in floats."""
    source = network()
    number = QParams(np.array(0.05, np.float32), np.array(128, np.uint8), DType.U8)
    weights = QParams(np.array(0.03, np.float32), np.array(0, np.int8), DType.I8)
    values = dict.fromkeys(("x", *(f"{n}:out" for n in LAYERS[:-1])), number)
    parameters = Parameters(values, {n: weights for n in LAYERS if n not in floats})
    return optimize(quantized_graph(source, parameters, Settings()) if parameters.weights else source)[0]


def priced(float_ns: dict[str, float], integer_ns: dict[str, float], other_ns: float):  # type: ignore[no-untyped-def]
    """A cost model that knows what each layer takes; any other step takes ``other_ns``."""

    def cost(kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
        name = problem.anchor.name
        if problem.anchor.op.name == "Conv":
            return float_ns[name]
        return integer_ns[name] if problem.anchor.op.name == "ConvInteger" else other_ns

    return cost


@pytest.mark.parametrize(
    ("float_ns", "integer_ns", "other_ns", "expected"),
    [
        ((9e4, 9e4, 9e4, 9e4), (1e4, 1e4, 1e4, 1e4), 10.0, ""),
        ((1e4, 1e4, 1e4, 1e4), (9e4, 9e4, 9e4, 9e4), 10.0, "abcd"),
        ((9e4, 9e4, 1e4, 9e4), (1e4, 1e4, 9e4, 1e4), 10.0, "c"),
        ((1e4, 1e4, 9e4, 9e4), (9e4, 9e4, 1e4, 1e4), 10.0, "ab"),
        # What integers save on one layer, conversions cost.
        ((1e4, 1e4, 1e4, 1e4), (2e4, 9900.0, 2e4, 2e4), 3000.0, "abcd"),
    ],
)
def test_each_layer_takes_what_is_faster(
    float_ns: tuple[float, ...], integer_ns: tuple[float, ...], other_ns: float, expected: str
) -> None:
    cost = priced(dict(zip(LAYERS, float_ns, strict=True)), dict(zip(LAYERS, integer_ns, strict=True)), other_ns)
    found = choose_precision(LAYERS, graph_of, parse("native"), cost, SINGLE)
    assert found.floats == frozenset(expected)
    assert found.chosen_ns <= min(found.float_ns, found.integer_ns)
    assert {n: layer.float_ns for n, layer in found.layers.items()} == dict(zip(LAYERS, float_ns, strict=True))


def cost_of(chosen: frozenset[str], floats: Mapping[str, float], integers: Mapping[str, float], links: Links) -> float:
    own = sum(floats[n] if n in chosen else integers[n] for n in floats)
    return own + sum(t for (a, b), t in links.items() if (a in chosen) != (b in chosen))


@pytest.mark.parametrize("seed", range(20))
def test_the_mixture_is_nearly_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = "abcdefg"
    floats, integers = (dict(zip(names, rng.uniform(1, 10, 7), strict=True)) for _ in "ab")
    links = {pair: float(rng.uniform(0, 4)) for pair in itertools.pairwise(names)}
    every = [frozenset(c) for size in range(8) for c in itertools.combinations(names, size)]
    least = min(cost_of(c, floats, integers, links) for c in every)
    found = [_cheapest(floats, integers, links, start) for start in (frozenset[str](), frozenset(names))]
    assert min(cost_of(c, floats, integers, links) for c in found) <= 1.1 * least
