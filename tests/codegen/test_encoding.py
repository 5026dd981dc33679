"""Weights in fewer bits: what is stored comes back bit for bit, and programs read it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.codegen.encoding import DECODER, LEAST_BYTES, encode
from edgesmith.target import parse
from edgesmith.toolchain import build, zig

INTEGERS = {2: (-1, 1), 3: (-2, 1), 4: (-8, 7), 5: (0, 15)}
"""Kind -> the smallest and the largest number."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("decoder")
    text = "#include <stddef.h>\n#include <stdint.h>\n" + DECODER
    text += """
__attribute__((visibility("default")))
void decode(const unsigned char *from, unsigned char *to, size_t n, int32_t kind);
void decode(const unsigned char *from, unsigned char *to, size_t n, int32_t kind) {
    const expansion e = {0, 0, n, kind};
    expand(&e, from, to);
}
"""
    (folder / "decoder.c").write_text(text)
    made = build(folder, folder, "decoder", parse("portable"), zig(), extra=("-Werror",), executable=False)
    return ctypes.CDLL(str(made["shared"]))


def decoded(library: ctypes.CDLL, array: np.ndarray) -> np.ndarray:
    short = encode(array)
    assert short is not None and short.data.nbytes < array.nbytes == short.nbytes
    result = np.empty_like(array)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (short.data, result)]
    library.decode(*pointers, ctypes.c_size_t(short.count), ctypes.c_int32(short.kind))
    return result


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("count", [LEAST_BYTES, LEAST_BYTES + 1, 4099])
def test_small_integers_come_back(decoder: ctypes.CDLL, kind: int, count: int) -> None:
    low, high = INTEGERS[kind]
    numbers = np.arange(low, high + 1, 2 if kind == 2 else 1, np.int8)
    array = np.random.default_rng(kind).choice(numbers, count).astype(np.int8)
    short = encode(array)
    assert short is not None and short.kind == kind
    assert short.data.nbytes <= count * {2: 1, 3: 2, 4: 4, 5: 4}[kind] / 8 + 1
    np.testing.assert_array_equal(decoded(decoder, array), array)


@pytest.mark.toolchain
@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint16, 600, elements=st.integers(0, 0xFFFF)), st.sampled_from(["fp16", "bf16"]))
def test_every_half_comes_back(decoder: ctypes.CDLL, bits: np.ndarray, form: str) -> None:
    with np.errstate(invalid="ignore"):
        array = (
            bits.view(np.float16).astype(np.float32) if form == "fp16" else (bits.astype(np.uint32) << 16).view("f4")
        )
    if encode(array) is None:
        # A NaN may lose its payload on the way through fp16.
        assert form == "fp16" and np.isnan(array).any()
        return
    np.testing.assert_array_equal(decoded(decoder, array).view(np.uint32), array.view(np.uint32))


@pytest.mark.toolchain
def test_all_numbers_of_fp16_come_back(decoder: ctypes.CDLL) -> None:
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    array = half[~np.isnan(half)].astype(np.float32)
    np.testing.assert_array_equal(decoded(decoder, array).view(np.uint32), array.view(np.uint32))


def test_what_does_not_fit_stays() -> None:
    rng = np.random.default_rng(0)
    assert encode(rng.standard_normal(4096).astype(np.float32)) is None
    assert encode(rng.integers(-128, 128, 4096).astype(np.int8)) is None
    assert encode(np.zeros(4096, np.uint8)) is None
    assert encode(np.zeros(LEAST_BYTES // 4 - 1, np.float32)) is None


@pytest.mark.toolchain
@pytest.mark.parametrize("form", ["fp16", "bf16"])
def test_a_program_stores_halves(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((64, 32, 3, 3)).astype(np.float32)
    if form == "fp16":
        weights = weights.astype(np.float16).astype(np.float32)
    else:
        weights = (weights.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1] * 4)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 10, 10])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    artifact = edgesmith.compile(model, output=tmp_path / "net", tune="off", cache=False, name="net")
    memory = artifact.manifest["memory"]
    assert memory["weights_bytes"] < 0.55 * weights.nbytes
    assert memory["prepared_bytes"] >= weights.nbytes
