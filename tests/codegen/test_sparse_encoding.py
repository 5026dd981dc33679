"""Weights most of which are zero: what is stored comes back bit for bit, is small, and programs read it."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.codegen import generate
from edgesmith.codegen.encoding import DECODER, encode
from edgesmith.codegen.sparse_encoding import BITMAP, GAPS, GROUPS, SPARSE_DECODER, SparseEncoded, encode_sparse
from edgesmith.target import parse
from edgesmith.toolchain import build, zig

ROW = "QQQQQiiiiiii"


class Row(ctypes.Structure):
    """A row of the table that a program has."""

    _fields_ = [(f"f{i}", ctypes.c_size_t if kind == "Q" else ctypes.c_int32) for i, kind in enumerate(ROW)]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The decoder, which stops at undefined behaviour."""
    folder = tmp_path_factory.mktemp("decoder")
    text = "#include <stddef.h>\n#include <stdint.h>\n" + DECODER + SPARSE_DECODER
    text += """
__attribute__((visibility("default")))
void decode(const sparse_expansion *e, const unsigned char *weights, unsigned char *prepared);
void decode(const sparse_expansion *e, const unsigned char *weights, unsigned char *prepared) {
    expand_sparse(e, weights, prepared);
}
"""
    (folder / "decoder.c").write_text(text)
    extra = ("-Werror", "-fsanitize=undefined", "-fsanitize-trap=undefined")
    made = build(folder, folder, "decoder", parse("portable"), zig(), extra=extra, executable=False)
    return ctypes.CDLL(str(made["shared"]))


def stored(array: np.ndarray) -> tuple[SparseEncoded, ...]:
    short = encode(array)
    return encode_sparse(array, array.nbytes if short is None else short.data.nbytes)


def decoded(library: ctypes.CDLL, array: np.ndarray, runs: tuple[SparseEncoded, ...]) -> np.ndarray:
    result = np.full(array.nbytes + 64, 0xA5, np.uint8)
    at = 0
    for run in runs:
        row = Row(0, at, *run.fields)
        library.decode(
            ctypes.byref(row), run.data.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p)
        )
        at += run.nbytes
    assert at == array.nbytes and (result[at:] == 0xA5).all()
    return result[:at].view(array.dtype).reshape(array.shape)


def comes_back(library: ctypes.CDLL, array: np.ndarray) -> tuple[SparseEncoded, ...]:
    runs = stored(array)
    assert runs
    np.testing.assert_array_equal(decoded(library, array, runs).view(np.uint8), array.view(np.uint8))
    return runs


def sparse(count: int, density: float, kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {
        "f32": rng.standard_normal(count).astype(np.float32),
        "fp16": rng.standard_normal(count).astype(np.float16).astype(np.float32),
        "bf16": (rng.standard_normal(count).astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(
            np.float32
        ),
        "i8": rng.integers(1, 127, count).astype(np.int8),
        "4 bits": rng.integers(-8, 0, count).astype(np.int8),
        "signs": (2 * rng.integers(0, 2, count) - 1).astype(np.int8),
        "i16": rng.integers(1, 1 << 14, count).astype(np.int16),
    }[kind]
    return np.where(rng.random(count) < density, values, values.dtype.type(0))


BITS = {"f32": 32, "fp16": 16, "bf16": 16, "i8": 8, "4 bits": 4, "signs": 1, "i16": 16}


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", BITS)
@pytest.mark.parametrize(("density", "count"), [(0.02, 5000), (0.1, 4099), (0.45, 2111)])
def test_unstructured_zeros_come_back_and_are_small(
    decoder: ctypes.CDLL, kind: str, density: float, count: int
) -> None:
    array = sparse(count, density, kind)
    (run,) = comes_back(decoder, array)
    assert run.place_form == (GAPS if density < 0.3 else BITMAP) and run.unit == 1
    number = np.count_nonzero(array)
    share = number / count
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    bits = 8 * run.data.nbytes - number * BITS[kind]
    assert entropy * count <= bits * 1.02 and bits <= 1.15 * entropy * count + 16


@pytest.mark.toolchain
@pytest.mark.parametrize("unit", [4, 16, 64])
def test_blocks_are_stored_as_such(decoder: ctypes.CDLL, unit: int) -> None:
    rng = np.random.default_rng(unit)
    kept = (rng.random(300) < 0.5).repeat(unit)[: 300 * unit - 3]
    array = np.where(kept, rng.standard_normal(kept.size).astype(np.float32), np.float32(0))
    (run,) = comes_back(decoder, array)
    assert run.unit == unit and run.place_form == BITMAP
    assert run.data.nbytes <= 4 * np.count_nonzero(kept) + 4 * unit + 300 / 8 + 1


@pytest.mark.toolchain
@pytest.mark.parametrize("stride", [1, 16, 32])
@pytest.mark.parametrize(("taken", "width"), [(1, 2), (2, 3), (1, 4)])
def test_groups_take_the_logarithm_of_their_size(decoder: ctypes.CDLL, taken: int, width: int, stride: int) -> None:
    """N:M zeros, some of them with fewer than N, in panels of which the last one is narrower."""
    rng = np.random.default_rng(taken)
    size = 1 << width

    def panel(blocks: int, across: int) -> np.ndarray:
        order = rng.permuted(np.tile(np.arange(size), (blocks * across, 1)), axis=1)
        values = np.where(order < taken, rng.standard_normal(order.shape).astype(np.float32), np.float32(0))
        values[0] = 0
        return np.moveaxis(values.reshape(blocks, across, size), 2, 1).reshape(-1)

    array = np.concatenate([panel(4000 // stride, stride), panel(3, 4 if stride > 4 else stride)])
    runs = comes_back(decoder, array)
    head = runs[0]
    assert (head.place_form, head.width, head.taken, head.stride) == (GROUPS, width, taken, stride)
    assert head.values_at == -(-head.count // size * taken * width // 8)


@pytest.mark.toolchain
def test_negative_zero_and_all_zeros_come_back(decoder: ctypes.CDLL) -> None:
    array = sparse(2000, 0.1, "f32")
    array[5::50] = -0.0
    comes_back(decoder, array)
    (run,) = comes_back(decoder, np.zeros(4096, np.float32))
    assert run.data.nbytes <= 8


@pytest.mark.toolchain
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1100, 3000), st.floats(0, 0.3), st.sampled_from(sorted(BITS)), st.booleans())
def test_whatever_is_sparse_comes_back(
    decoder: ctypes.CDLL, seed: int, count: int, density: float, kind: str, clustered: bool
) -> None:
    array = sparse(count, density, kind, seed)
    if clustered:
        array[count // 3 : -(count // 5)] = 0
    comes_back(decoder, array)


def test_only_what_saves_a_quarter_is_stored_so() -> None:
    assert not stored(np.ones(4096, np.float32) * np.float32(1.1))
    assert not stored(sparse(4096, 0.8, "f32")) and stored(sparse(4096, 0.7, "f32"))
    # Ternary weights have two bits each already.
    assert not stored(sparse(4096, 0.7, "signs")) and stored(sparse(4096, 0.3, "signs"))
    assert not stored(np.zeros(100, np.float32)) and not stored(np.zeros(4096, np.float64))


def test_the_same_array_gives_the_same_bytes() -> None:
    first, second = (stored(sparse(5000, 0.2, "f32"))[0] for _ in range(2))
    assert first.fields == second.fields and first.data.tobytes() == second.data.tobytes()


def pruned_model(density: float = 0.25) -> tuple[onnx.ModelProto, np.ndarray]:
    """A 3x3 convolution with unstructured zeros, twice with the same weights."""
    weights = sparse(32 * 32 * 9, density, "f32").reshape(32, 32, 3, 3)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["v"], "first", pads=[1] * 4),
        helper.make_node("Conv", ["v", "w"], ["y"], "second", pads=[1] * 4),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 10, 10])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), weights


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["native", "portable"])
def test_a_program_stores_what_is_not_zero(target: str, tmp_path: Path) -> None:
    model, weights = pruned_model()
    made = [
        edgesmith.compile(
            model, target=target, output=tmp_path / n, tune="off", cache=False, name="net", forbid=["winograd"]
        )
        for n in "ab"
    ]
    memory = made[0].manifest["memory"]
    assert memory["weights_bytes"] < 0.33 * weights.nbytes
    assert memory["prepared_bytes"] >= weights.nbytes
    files = [m.path / "src" / name for m in made for name in ("weights.bin", "net.c")]
    assert files[0].read_bytes() == files[2].read_bytes() and files[1].read_bytes() == files[3].read_bytes()


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", ["fp16", "f32"])
def test_sparse_and_narrow_weights_in_one_program(kind: str, tmp_path: Path) -> None:
    """Both tables, in a program under the sanitizer of undefined behaviour."""
    from test_package import compiled, planned, run

    from edgesmith.oracle import Oracle

    model, _ = pruned_model(0.3)
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((32, 32, 3, 3)).astype(np.float16).astype(np.float32)
    if kind == "f32":
        dense += np.float32(1e-5)
    model.graph.initializer.append(numpy_helper.from_array(dense, "dense"))
    model.graph.node[1].input[1] = "dense"
    plan = planned(model)
    package, made = compiled(plan, "net", tmp_path, zig(), "-fsanitize=undefined")
    text = generate(plan, "net", "test").files["net.c"].decode()
    assert "sparse_expansions[]" in text and ("expansion expansions[]" in text) == (kind == "fp16")
    x = rng.standard_normal((1, 32, 10, 10)).astype(np.float32)
    (y,) = run(package, made, x)
    expected = Oracle(model).run({"x": x}, ("y",))["y"]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))
