"""Quantised graphs: what becomes integers, what stays exact, and that nothing is far from the float graph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgesmith.errors import BadInput
from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph
from edgesmith.ops.add import Add
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.softmax import Softmax
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.quantize import Parameters, QParams, Quantized, Settings, open_samples, quantize
from edgesmith.quantize.insert import quantized_graph
from edgesmith.quantize.placement import place
from passes.graphs import Sketch

POINTWISE = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)))


def data(graph: Graph, count: int = 16) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(8)
    for _ in range(count):
        yield {v: rng.standard_normal(graph.type(v).shape).astype(np.float32) for v in graph.inputs}


def quantized(graph: Graph, **settings: object) -> Quantized:
    inputs = {v: graph.type(v) for v in graph.inputs}
    chosen = Settings(**{"recovery": (), **settings})  # type: ignore[arg-type]
    return quantize(graph, open_samples(lambda: data(graph), inputs), chosen)


def residual() -> Graph:
    """Two convolutions, the second added to what the first reads, an average, a classifier."""
    s = Sketch()
    x = s.input(2, 6, 5, 5)
    a = s.add(Relu(), s.add(POINTWISE, x, s.random(8, 6, 1, 1), s.random(8)))
    b = s.add(POINTWISE, a, s.random(8, 8, 1, 1), s.random(8))
    y = s.add(Relu(), s.add(Add(), b, a))
    y = s.add(Reshape((2, 8)), s.add(GlobalAveragePool(), y))
    y = s.add(Gemm(alpha=0.5, beta=2.0), y, s.random(8, 4), s.random(4))
    return s.graph(s.add(Softmax(1), y))


def kinds(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


VARIANTS: list[dict[str, object]] = [
    {},
    {"activations": DType.I8},
    {"activations": DType.I8, "symmetric_activations": True},
    {"symmetric_activations": True},
    {"per_channel": False},
    {"symmetric_weights": False},
    {"power_of_two": True},
    {"observer": "min-max"},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda v: "-".join(map(str, v.values())) or "default")
def test_close_to_floats_and_the_same_in_onnx_runtime(settings: dict[str, object]) -> None:
    found = quantized(residual(), **settings)
    assert found.outputs.keys() == set(found.source.outputs)
    least = 20 if settings.get("power_of_two") or settings.get("symmetric_activations") else 26
    assert all(e.sqnr_db > least for e in found.errors.values()), {v: e.sqnr_db for v, e in found.errors.items()}
    feeds = next(data(found.source))
    ours = found.graph.reference(feeds)
    theirs = Oracle(to_onnx(found.graph), optimized=False).run(feeds)
    for value, array in theirs.items():
        np.testing.assert_allclose(ours[value], array, atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda v: "-".join(map(str, v.values())) or "default")
def test_all_products_become_integer_products(settings: dict[str, object]) -> None:
    found = quantized(residual(), **settings)
    names = kinds(optimize(found.graph)[0])
    assert names.count("ConvInteger") == 2
    assert names.count("MatMulInteger") == 1
    assert not {"Conv", "Gemm", "MatMul"} & set(names)


def test_the_operand_computed_last_stays_in_registers() -> None:
    graph = residual()
    stored = place(graph, Settings()).values
    add = next(n for n in graph.nodes if n.op.name == "Add")
    assert add.inputs[1] in stored  # also read by the convolution
    assert add.inputs[0] not in stored
    assert add.outputs[0] not in stored  # a Relu follows
    assert set(stored) >= {"x0", add.inputs[1]}


def test_biases_are_integers_in_units_of_both_scales() -> None:
    found = quantized(residual())
    graph, parameters = found.graph, found.parameters
    for name in found.products:
        node = next(n for n in graph.nodes if n.name == name)
        bias = graph.producers[node.inputs[2]]
        integers, scale = graph.constants[bias.inputs[0]], graph.constants[bias.inputs[1]]
        assert integers.dtype == np.int32
        source = next(n for n in found.source.nodes if n.name == name)
        unit = parameters.values[source.inputs[0]].scale * parameters.weights[name].scale
        gain = source.op.alpha / source.op.beta if isinstance(source.op, Gemm) else 1
        np.testing.assert_allclose(scale, unit * gain, rtol=1e-6)
        exact = found.source.constants[source.inputs[2]]
        assert (np.abs(integers * scale - exact) <= scale * 0.51).all()


def test_what_a_concat_reads_is_stored_at_its_scale() -> None:
    s = Sketch()
    x = s.input(1, 4, 3, 3)
    a = s.add(POINTWISE, x, s.random(4, 4, 1, 1))
    b = s.add(POINTWISE, x, s.random(4, 4, 1, 1, low=-9, high=9))
    joined = s.add(Concat(1), a, b)
    graph = s.graph(s.add(POINTWISE, joined, s.random(5, 8, 1, 1)))
    values = quantized(graph).parameters.values
    assert values[a].key == values[b].key == values[joined].key
    final = optimize(quantized(graph).graph)[0]
    concat = next(n for n in final.nodes if n.op.name == "Concat")
    assert all(final.type(v).dtype is DType.U8 for v in concat.inputs)


@pytest.mark.parametrize(("factor", "shared"), [(1.0, True), (8.0, False)])
def test_an_input_of_a_concat_with_other_readers_keeps_a_much_finer_scale(factor: float, shared: bool) -> None:
    s = Sketch()
    x = s.input(1, 4, 3, 3)
    a = s.add(POINTWISE, x, s.random(4, 4, 1, 1))
    b = s.add(POINTWISE, a, s.random(4, 4, 1, 1, low=-factor, high=factor))
    joined = s.add(Concat(1), a, b)
    graph = s.graph(s.add(POINTWISE, joined, s.random(5, 8, 1, 1)))
    found = quantized(graph)
    values = found.parameters.values
    assert values[b].key == values[joined].key
    assert (values[a].key == values[joined].key) == shared
    assert all(e.sqnr_db > 28 for e in found.errors.values())


def test_softmax_and_outputs_read_exact_values() -> None:
    s = Sketch()
    x = s.input(2, 6)
    y = s.add(Gemm(), x, s.random(6, 6), s.random(6))
    scores = s.add(Softmax(1), y)
    z = s.add(Gemm(), y, s.random(6, 3))
    graph = s.graph(scores, z, y)
    found = quantized(graph).graph
    softmax = next(n for n in found.nodes if n.op.name == "Softmax")
    assert softmax.inputs == (y,)
    assert found.producers[y].op.name == "Gemm"
    assert found.producers[z].inputs[0] != y


def test_excluded_nodes_and_operators_stay_in_floats() -> None:
    graph = residual()
    first, second, last = (n for n in graph.nodes if n.op.name in ("Conv", "Gemm"))
    found = quantized(graph, exclude=(first.origin[0],))
    assert found.products == (second.name, last.name)
    assert found.floats == {first.name: "excluded"}
    assert quantized(graph, only=("Gemm",)).products == (last.name,)
    assert "Conv" in kinds(optimize(quantized(graph, only=("Gemm",)).graph)[0])


def test_products_that_integers_cannot_compute_stay_in_floats() -> None:
    s = Sketch()
    x, w = s.input(4, 6), s.input(6, 3)
    run_time = s.add(MatMul(), x, w)
    constant = s.add(MatMul(), x, s.random(6, 3))
    rows = s.add(Gemm(), x, s.random(6, 3), s.random(4, 1))
    found = quantized(s.graph(run_time, constant, rows))
    assert found.floats[found.source.producers[run_time].name] == "its weights are computed at run time"
    assert found.floats[found.source.producers[rows].name] == "its bias differs from row to row"
    assert found.products == (found.source.producers[constant].name,)


def test_given_integers_take_the_place_of_rounded_weights() -> None:
    graph = residual()
    found = quantized(graph)
    name = found.products[0]
    w: QParams = found.parameters.weights[name]
    node = next(n for n in graph.nodes if n.name == name)
    floored = np.clip(np.floor(w.steps(graph.constants[node.inputs[1]])), *w.limits).astype(np.int8)
    p = found.parameters
    other = quantized_graph(graph, Parameters(p.values, p.weights, {name: floored}), Settings())
    weights = other.producers[next(n for n in other.nodes if n.name == name).inputs[1]].inputs[0]
    np.testing.assert_array_equal(other.constants[weights], floored)
    with pytest.raises(BadInput, match="integers are int8"):
        quantized_graph(graph, Parameters(p.values, p.weights, {name: floored[:1]}), Settings())


def test_nodes_without_parameters_stay_in_floats() -> None:
    graph = residual()
    p = quantized(graph).parameters
    some = dict(list(p.weights.items())[:1])
    names = kinds(optimize(quantized_graph(graph, Parameters(p.values, some), Settings()))[0])
    assert names.count("ConvInteger") == 1
    assert "Conv" in names


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exclude": ("nowhere",)}, "no node 'nowhere'"),
        ({"only": ("Softmax",)}, "no operator to quantise 'Softmax'"),
        ({"only": ("Add",)}, "add Conv, Gemm or MatMul"),
        ({"observer": "magic"}, "no observer 'magic'"),
    ],
)
def test_wrong_names_are_told(settings: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        quantized(residual(), **settings)


@pytest.mark.parametrize("wrong", [{"precision": "int3"}, {"percentile": 3.0}, {"momentum": 1.0}])
def test_wrong_settings_are_told(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_quantised_graph_is_not_quantised_again() -> None:
    with pytest.raises(BadInput, match="quantised already"):
        quantized(quantized(residual()).graph)
