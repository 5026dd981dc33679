"""Weights of 4 bits with a scale for each block, binary and ternary weights: in ONNX and in the program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgesmith
from edgesmith.errors import BadInput
from edgesmith.frontend.onnx import read
from edgesmith.ir import Graph
from edgesmith.ops.block_scales import DequantizeLinearByBlock
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.quantize import Quantized, Settings, open_samples, quantize
from edgesmith.quantize.block_weights import block_codes
from passes.graphs import Sketch

SPATIAL = Conv(Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))


def perceptron(inputs: int = 128) -> Graph:
    s = Sketch()
    hidden = s.add(Relu(), s.add(MatMul(), s.input(2, inputs), s.random(inputs, 128)))
    return s.graph(s.add(Gemm(transB=1), hidden, s.random(40, 128), s.random(40)))


def in_blocks(graph: Graph, **given: object) -> Quantized:
    return quantize(graph, None, Settings(precision="int4", **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [16, 32])
def test_onnx_runtime_and_the_reader_agree_on_4_bits(block: int) -> None:
    graph = perceptron()
    found = in_blocks(graph, block=block)
    assert found.rounded == tuple(n.name for n in graph.nodes if n.op.name != "Relu") and not found.floats
    tensors = {t.name: t for t in found.model.graph.initializer}
    conversions = [n for n in found.model.graph.node if n.op_type == "DequantizeLinear"]
    assert len(conversions) == 2
    for node in conversions:
        attributes = {a.name: a.i for a in node.attribute}
        weights, scale = (tensors[v] for v in node.input)
        assert attributes["block_size"] == block
        assert weights.data_type == onnx.TensorProto.INT4
        assert scale.dims[attributes.get("axis", 1)] * block == weights.dims[attributes.get("axis", 1)]
    values = {v: np.random.default_rng(3).standard_normal(graph.type(v).shape).astype(np.float32) for v in graph.inputs}
    (want,) = Oracle(found.model).run(values).values()
    back = read(found.model)
    assert sum(isinstance(n.op, DequantizeLinearByBlock) for n in back.nodes) == 2
    np.testing.assert_allclose(back.reference(values)[back.outputs[0]], want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.toolchain
def test_program_keeps_4_bits(tmp_path: Path) -> None:
    graph = perceptron(256)
    model = in_blocks(graph).model
    program = edgesmith.compile(model, output=tmp_path / "p", cache=False)
    assert [s["kernel"] for s in program.manifest["steps"]] == ["block-gemv", "block-gemv"]
    weights = sum(graph.constants[n.inputs[1]].nbytes for n in graph.nodes if n.op.name != "Relu")
    assert (tmp_path / "p" / "src" / "weights.bin").stat().st_size < 0.14 * weights + 4 * 40 + 256


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32]), st.integers(0, 1), st.floats(1e-5, 1e3))
def test_codes_are_the_nearest_and_scales_fit_fp16(seed: int, block: int, axis: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (2 * block, 5) if axis == 0 else (5, 2 * block)
    weights = (rng.standard_normal(shape) * size).astype(np.float32)
    codes, scales = block_codes(weights, axis, block)
    assert codes.min() >= -8 and codes.max() <= 7 and (scales > 0).all()
    np.testing.assert_array_equal(scales.astype(np.float16).astype(np.float32), scales)
    steps = weights / np.repeat(scales, block, axis).astype(np.float64)
    assert (np.abs(codes - np.clip(steps, -8, 7)) <= 0.5 + 1e-6).all()
    largest = np.abs(weights).max()
    assert np.abs(codes * np.repeat(scales, block, axis) - weights).max() <= 0.5 * largest


def test_layers_that_blocks_do_not_divide_stay_in_floats() -> None:
    s = Sketch()
    y = s.add(MatMul(), s.add(MatMul(), s.input(1, 100), s.random(100, 64)), s.random(64, 32))
    found = in_blocks(s.graph(y))
    assert list(found.floats.values()) == ["blocks of 64 do not divide its 100 inputs"]
    s = Sketch()
    with pytest.raises(BadInput, match="blocks of 64 do not divide its 100 inputs"):
        in_blocks(s.graph(s.add(MatMul(), s.input(1, 100), s.random(100, 64))))


def test_convolutions_have_blocks_of_input_channels() -> None:
    s = Sketch()
    found = in_blocks(s.graph(s.add(SPATIAL, s.input(1, 32, 5, 5), s.random(8, 32, 3, 3))), block=16)
    (node,) = [n for n in found.graph.nodes if isinstance(n.op, DequantizeLinearByBlock)]
    assert node.op == DequantizeLinearByBlock(1, 16)
    assert found.graph.constants[node.inputs[1]].shape == (8, 2, 3, 3)
    Oracle(found.model)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"precision": "int4", "block": 48}, "48 is none of"),
        ({"weight_bits": 0}, "not from 1 to 8"),
        ({"weight_bits": 1, "symmetric_weights": False}, "symmetric"),
        ({"ternary": True, "recovery": ("adaround",)}, "adaround"),
        ({"ternary": True, "precision": "int16x8"}, "int8"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Settings(**given)  # type: ignore[arg-type]


def convolutions() -> Graph:
    s = Sketch()
    x = s.add(Relu(), s.add(SPATIAL, s.input(1, 16, 6, 6), s.random(32, 16, 3, 3), s.random(32)))
    return s.graph(s.add(SPATIAL, x, s.random(32, 32, 3, 3), s.random(32)))


def with_signs(graph: Graph, **given: object) -> Quantized:
    def data() -> Iterator[dict[str, np.ndarray]]:
        rng = np.random.default_rng(8)
        for _ in range(8):
            yield {v: rng.standard_normal(graph.type(v).shape).astype(np.float32) for v in graph.inputs}

    samples = open_samples(data, {v: graph.type(v) for v in graph.inputs})
    return quantize(graph, samples, Settings(recovery=(), **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_signs_times_their_mean(ternary: bool, per_channel: bool) -> None:
    graph = convolutions()
    found = with_signs(graph, weight_bits=8 if ternary else 1, ternary=ternary, per_channel=per_channel)
    for node in (n for n in graph.nodes if n.op.name == "Conv"):
        weights, q = graph.constants[node.inputs[1]], found.parameters.weights[node.name]
        codes = found.parameters.integers[node.name]
        others = (1, 2, 3) if per_channel else (0, 1, 2, 3)
        mean = np.abs(weights).mean(others, keepdims=True)
        kept = np.abs(weights) > 0.7 * mean if ternary else np.ones(weights.shape, bool)
        np.testing.assert_array_equal(codes, np.where(kept, np.where(weights < 0, -1, 1), 0))
        want = (np.abs(weights) * kept).sum(others) / kept.sum(others)
        np.testing.assert_allclose(q.scale, want, rtol=1e-5)


@pytest.mark.toolchain
def test_binary_weights_take_one_bit(tmp_path: Path) -> None:
    graph = convolutions()
    found = with_signs(graph, weight_bits=1)
    assert all(set(np.unique(a)) == {-1, 1} for a in found.parameters.integers.values())
    edgesmith.compile(found.model, output=tmp_path / "p", cache=False)
    weights = sum(graph.constants[n.inputs[1]].nbytes for n in graph.nodes if n.op.name == "Conv")
    others = sum(a.nbytes for a in graph.constants.values()) - weights
    # One bit of 32 is 3.1 %, the scales are 2.8 % of such small layers; what remains are biases and alignment.
    assert (tmp_path / "p" / "src" / "weights.bin").stat().st_size < 0.0313 * weights + 4 * others + 256
