"""Weights in fp16 and bf16: half the bytes, in ONNX and in the program, and the same numbers in both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import edgesmith
from edgesmith import api
from edgesmith.errors import BadInput
from edgesmith.export import to_onnx
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType, Graph
from edgesmith.ops.add import Add
from edgesmith.ops.cast import Cast, widens_half
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.quantize import Quantized, Settings, open_samples, quantize
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.zoo import build
from passes.graphs import Sketch

HALVES = [name for name, p in PRECISIONS.items() if p.weights.is_float]
POINTWISE = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)))


def rounded(graph: Graph, precision: str, **settings: object) -> Quantized:
    return quantize(graph, None, Settings(precision=precision, **settings))  # type: ignore[arg-type]


def two_layers(factor: float = 1.0) -> Graph:
    s = Sketch()
    x = s.input(1, 24, 4, 4)
    weights = s.random(32, 24, 1, 1)
    s.constants[weights] *= np.float32(factor)
    y = s.add(Relu(), s.add(POINTWISE, x, weights, s.random(32)))
    return s.graph(s.add(POINTWISE, y, s.random(16, 32, 1, 1), s.random(16)))


def network() -> onnx.ModelProto:
    return build("squeezenet-1.1", image_size=32)


@pytest.mark.parametrize("precision", HALVES)
def test_the_model_is_half_as_large_and_nearly_the_same(precision: str) -> None:
    model = network()
    found = api.quantize(model, "none", precision=precision, samples=2)
    exact = to_onnx(optimize(read(model))[0])
    before, after = (len(m.SerializeToString()) for m in (exact, found.model))
    assert after < 0.51 * before
    kinds = {t.data_type for t in found.model.graph.initializer}
    assert {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision] in kinds
    assert not found.floats and len(found.rounded) == 26
    least = {"fp16": 40, "bf16": 22}[precision]
    assert all(e.sqnr_db > least for e in found.outputs.values()), found.outputs


@pytest.mark.parametrize("activations", [DType.F32, DType.BF16, DType.F16])
@pytest.mark.parametrize("precision", HALVES)
def test_numbers_are_those_of_onnx_runtime(precision: str, activations: DType) -> None:
    if activations not in PRECISIONS[precision].activations:
        pytest.skip(f"{precision} has no activations of {activations}")
    found = rounded(two_layers(), precision, activations=activations)
    x = np.random.default_rng(1).normal(size=(1, 24, 4, 4)).astype(np.float32)
    (theirs,) = Oracle(found.model).run({found.graph.inputs[0]: x}).values()
    (value,) = found.graph.outputs
    ours = found.graph.reference({found.graph.inputs[0]: x})[value]
    # Sums differ in their last bits, which may carry an activation to the next number of 16 bits.
    step = {DType.BF16: 2.0**-7, DType.F16: 2.0**-10}.get(activations, 2.0**-20)
    np.testing.assert_allclose(ours, theirs, atol=step * np.abs(theirs).max() * 0.1)
    casts = [n for n in found.graph.nodes if n.op.name == "Cast"]
    assert len(casts) == (2 if activations is DType.F32 else 6)


@pytest.mark.parametrize("precision", HALVES)
def test_weights_are_rounded_to_nearest_even(precision: str) -> None:
    found = rounded(two_layers(), precision)
    for node in (n for n in found.graph.nodes if n.op.name == "Conv"):
        cast = found.graph.producers[node.inputs[1]]
        short = found.graph.constants[cast.inputs[0]]
        exact = found.source.constants[found.source.nodes[found.source.position[node.name]].inputs[1]]
        assert short.dtype == PRECISIONS[precision].weights.numpy
        np.testing.assert_array_equal(short, exact.astype(short.dtype))
        assert node.inputs[2] == found.source.nodes[found.source.position[node.name]].inputs[2]


@pytest.mark.parametrize(("factor", "name"), [(1e6, "fp16-overflow"), (1e-7, "fp16-underflow")])
def test_what_fp16_cannot_hold_stays(factor: float, name: str) -> None:
    graph = two_layers(factor)
    found = rounded(graph, "fp16")
    (notice,) = found.notices
    assert notice.name == name
    first, second = (n.name for n in graph.nodes if n.op.name == "Conv")
    assert found.rounded == (second,)
    assert found.floats == {first: notice.why}
    assert len(rounded(graph, "bf16").rounded) == 2


def test_small_constants_and_excluded_nodes_stay() -> None:
    s = Sketch()
    x = s.input(4, 300)
    y = s.add(Gemm(), x, s.random(300, 64), s.random(64))
    y = s.add(Add(), y, s.random(4, 64))
    y = s.add(Gemm(), y, s.random(64, 3))
    graph = s.graph(y)
    found = rounded(graph, "bf16")
    first, last = (n.name for n in graph.nodes if n.op.name == "Gemm")
    assert found.rounded == (first,)
    assert found.floats == {last: "its weights are few"}
    assert sum(a.dtype == DType.BF16.numpy for a in found.graph.constants.values()) == 2
    assert rounded(graph, "bf16", only=("Gemm",)).rounded == (first,)
    with pytest.raises(BadInput, match="256 numbers"):
        rounded(graph, "bf16", exclude=(first,))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_accuracy_drop": 1.0}, "no accuracy budget"),
        ({"recovery": ("adaround",)}, "accuracy recovery"),
        ({"activations": DType.U8}, "none of f32, f16"),
    ],
)
def test_what_is_for_integers_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        rounded(two_layers(), "fp16", **settings)


def test_what_goes_to_memory_is_fp16() -> None:
    """The input of a product whose weights are rounded, and what is added to it; each reader widens for itself."""
    s = Sketch()
    x = s.input(1, 24, 4, 4)
    y = s.add(Relu(), s.add(POINTWISE, x, s.random(24, 24, 1, 1)))
    z = s.add(Add(), s.add(POINTWISE, y, s.random(24, 24, 1, 1)), y)
    graph = s.graph(s.add(POINTWISE, z, s.random(8, 24, 1, 1)))
    found = rounded(graph, "fp16", activations=DType.F16).graph
    narrowed = {n.inputs[0] for n in found.nodes if n.op == Cast(DType.F16)}
    assert narrowed == {x, y, z}
    widened = [n for n in found.nodes if widens_half(found, n)]
    assert len(widened) == 4 and all(found.sole_consumer(n.outputs[0]) is not None for n in widened)


def test_only_what_is_multiplied_by_rounded_weights_is_rounded() -> None:
    graph = two_layers(1e6)
    found = rounded(graph, "fp16", activations=DType.F16)
    (relu,) = (n.outputs[0] for n in graph.nodes if n.op.name == "Relu")
    assert [n.inputs[0] for n in found.graph.nodes if n.op == Cast(DType.F16)] == [relu]


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("name", "target", "precision", "activations"),
    [
        ("lenet-5", "portable", "fp16", None),
        ("lenet-5", "native", "bf16", None),
        ("lenet-5", "portable", "bf16", DType.BF16),
        ("squeezenet-1.1", "native", "bf16", DType.BF16),
        ("squeezenet-1.1", "native", "fp16", DType.F16),
    ],
)
def test_the_program_is_half_as_large(
    name: str, target: str, precision: str, activations: DType | None, tmp_path: Path
) -> None:
    model = build(name, **({} if name == "lenet-5" else {"image_size": 32}))
    sizes = {}
    for form in ("f32", precision):
        artifact = edgesmith.compile(
            model,
            output=tmp_path / form,
            precision=form,
            quantization=Settings(precision=precision, activations=activations),
            target=target,
            tune="off",
            cache=False,
            name="network",
        )
        assert artifact.verification and artifact.verification["ok"]
        sizes[form] = artifact.manifest["memory"]["weights_bytes"]
    assert sizes[precision] < 0.51 * sizes["f32"]


def test_errors_are_told_where_there_are_data() -> None:
    graph = two_layers()
    inputs = {v: graph.type(v) for v in graph.inputs}
    samples = open_samples("none", inputs)
    settings = Settings(precision="bf16")
    assert quantize(graph, None, settings).outputs == {}
    assert quantize(graph, samples, settings).outputs.keys() == set(graph.outputs)
