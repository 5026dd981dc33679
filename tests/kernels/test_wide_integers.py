"""Products of 16-bit integers and sums beyond 32 bits: every kernel that accepts them, against numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS
from edgesmith.kernels.base import Problem
from edgesmith.kernels.integer.wide import PartialSums, digits, words
from edgesmith.ops.base import OPS
from edgesmith.ops.cast import Cast
from edgesmith.ops.integer_products import ConvInteger, IntegerProduct, MatMulInteger
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.window import Window
from edgesmith.target import Target, parse
from edgesmith.toolchain.compiler import zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import Check, failures, places, spread
from .test_kernels import FLAGS, available_targets

LARGEST = 127 * 256 + 127
"""Of the 16-bit weights that quantisation makes; models may have larger ones."""


def weights(shape: tuple[int, ...], largest: int) -> np.ndarray:
    """Half of them at the ends of the range, most of one sign, so that sums are as large as they may be."""
    rng = np.random.default_rng(sum(shape))
    sign = rng.choice([1, -1], shape, p=[0.9, 0.1])
    size = np.where(rng.random(shape) < 0.5, largest, rng.integers(0, largest + 1, shape))
    return (sign * size).astype(np.int8 if largest < 128 else np.int16)


def layer(op: IntegerProduct, x: TensorType, w: np.ndarray, zero: int = 0, to: DType = DType.I16) -> Graph:
    """A product, its bias, and its requantisation to the whole range."""
    rng = np.random.default_rng(w.size)
    types = {"x": x, "w": TensorType.of(w), "x zero": TensorType((), x.dtype)}
    (sums,) = op.infer([types["x"], types["w"], types["x zero"]])
    axis = 1 if isinstance(op, ConvInteger) else sums.rank - 1
    channels = sums.shape[axis]
    along = (-1, *(1,) * (sums.rank - 1 - axis))
    size = np.abs(w.astype(np.int64)).sum(axis=(1, 2, 3) if w.ndim == 4 else 0) * 32768
    bias = np.rint(rng.uniform(-0.2, 0.2, channels) * np.minimum(size, 2.0**60)).astype(np.int64)
    bias = bias if sums.dtype is DType.I64 else np.clip(bias, -(2**29), 2**29).astype(np.int32)
    constants = {
        "w": w,
        "x zero": np.array(zero, x.dtype.numpy),
        "bias": bias.reshape(along),
        "scales": (60000.0 / np.maximum(size, 1)).astype(np.float32).reshape(along),
        "one": np.array(1.0, np.float32),
        "zero": np.array(3, to.numpy),
    }
    nodes = (
        Node("product", op, ("x", "w", "x zero"), ("sums",)),
        Node("add bias", OPS["Add"](), ("sums", "bias"), ("biased",)),
        Node("cast", Cast(DType.F32), ("biased",), ("steps",)),
        Node("mul", OPS["Mul"](), ("steps", "scales"), ("scaled",)),
        Node("quantize", QuantizeLinear(to), ("scaled", "one", "zero"), ("quantized",)),
    )
    f32 = TensorType(sums.shape, DType.F32)
    types |= {v: TensorType.of(a) for v, a in constants.items()}
    types |= {"sums": sums, "biased": sums, "steps": f32, "scaled": f32, "quantized": TensorType(sums.shape, to)}
    return Graph(("x",), ("quantized",), nodes, types, constants)


def convolution(
    name: str, channels: int, filters: int, kernel: int, largest: int, *, wide: bool, x: DType = DType.I16, **given: int
) -> tuple[str, Graph]:
    pad, stride = kernel // 2, given.get("stride", 1)
    group, dilation = given.get("group", 1), given.get("dilation", 1)
    window = Window((kernel,) * 2, (stride,) * 2, (pad,) * 2, (pad,) * 2, (dilation,) * 2)
    w = weights((filters, channels // group, kernel, kernel), largest)
    image = TensorType((1, channels, 9, 10), x)
    return name, layer(ConvInteger(window, group, wide), image, w, given.get("zero", 0))


def layers() -> Iterator[tuple[str, Graph]]:
    yield convolution("16x8, 32 bits", 12, 20, 3, 127, wide=False)
    yield convolution("u16 by 8, 32 bits", 12, 20, 1, 40, wide=False, x=DType.U16, zero=40000)
    yield convolution("16x8, in parts of a kernel line", 80, 9, 3, 127, wide=True)
    yield convolution("16x8, all at once", 12, 20, 3, 127, wide=True)
    yield convolution("16x8, in parts of a run", 1300, 5, 1, 127, wide=True)
    yield convolution("u16 by 8, wide", 700, 17, 1, 127, wide=True, x=DType.U16, zero=30000)
    yield convolution("16x16", 24, 33, 3, LARGEST, wide=True)
    yield convolution("16x16, any weights", 24, 8, 3, 32767, wide=True, stride=2)
    yield convolution("16x16, in parts of a run", 600, 8, 1, LARGEST, wide=True)
    yield convolution("16x16, dilated", 7, 12, 3, LARGEST, wide=True, dilation=2)
    yield convolution("8x8, beyond 32 bits", 40, 8, 1, 127, wide=True, x=DType.U8, zero=128)
    yield convolution("depthwise 16x8", 27, 27, 3, 127, wide=False, group=27)
    yield convolution("depthwise 16x8, shifted", 27, 27, 3, 127, wide=False, group=27, zero=-300)
    yield convolution("depthwise u16 by 8", 19, 19, 5, 100, wide=False, group=19, x=DType.U16, zero=500, stride=2)
    yield convolution("depthwise 16x16", 27, 27, 3, LARGEST, wide=True, group=27)
    yield convolution("depthwise 16x16, any weights", 9, 9, 5, 32767, wide=True, group=9, stride=2)
    yield "matrix 16x8", layer(MatMulInteger(), TensorType((5, 40), DType.I16), weights((40, 21), 127))
    yield "matrix 16x16", layer(MatMulInteger(True), TensorType((5, 700), DType.I16), weights((700, 21), LARGEST))


def checks(name: str, graph: Graph, target: Target) -> Iterator[Check]:
    """Every kernel that accepts the whole layer, on inputs of the whole range, half of them at its ends."""
    kind = graph.type("x")
    limits = np.iinfo(kind.dtype.numpy)
    rng = np.random.default_rng(kind.size)
    ends = rng.choice([limits.min, limits.max], kind.shape)
    x = np.where(rng.random(kind.shape) < 0.5, ends, rng.integers(limits.min, limits.max, kind.shape))
    values = {"x": x.astype(kind.dtype.numpy)}
    expected = graph.reference(values)
    assert np.unique(expected["quantized"]).size > 16
    for layout in ("channels_last", "part"):
        where = places(graph, layout)
        for kernel in KERNELS.values():
            for region in kernel.regions(graph, graph.nodes[0]):
                problem = Problem(graph, region, where, target)
                if len(region.nodes) != len(graph.nodes) or kernel.accepts(problem) is not None:
                    continue
                for schedule in spread(kernel.schedules(problem), 3):
                    label = f"{name}: {kernel.name} {dict(schedule)} {layout}"
                    yield Check(label, Trial(problem, kernel, schedule), values, expected, {"quantized": 0.0})


@pytest.mark.toolchain
@pytest.mark.parametrize("target", [t for t in available_targets() if t != "portable"])
def test_kernels_equal_the_reference(target: str) -> None:
    parsed = parse(target)
    todo = [check for name, graph in layers() for check in checks(name, graph, parsed)]
    assert {c.name.partition(":")[0] for c in todo} == {name for name, _ in layers()}
    library = TrialLibrary([c.trial for c in todo], parsed, zig(), FLAGS)
    wrong = failures(todo, library)
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize(("name", "graph"), [pytest.param(*each, id=each[0]) for each in layers()])
def test_references_are_exact_sums(name: str, graph: Graph) -> None:
    rng = np.random.default_rng(1)
    kind = graph.type("x")
    limits = np.iinfo(kind.dtype.numpy)
    x = rng.choice([limits.min, limits.max], kind.shape).astype(kind.dtype.numpy)
    node = graph.nodes[0]
    (sums,) = node.op.reference(x, *(graph.constants[v] for v in node.inputs[1:]))
    if kind.rank == 2:
        np.testing.assert_array_equal(sums, x.astype(np.int64) @ graph.constants["w"].astype(np.int64))
    assert sums.dtype == (np.int64 if node.op.sums is DType.I64 else np.int32)  # type: ignore[attr-defined]
    w = graph.constants["w"].astype(np.int64)
    most = np.abs(w).sum(axis=tuple(range(1, w.ndim)) if kind.rank == 4 else 0).max() * 65536
    assert np.abs(sums.astype(np.int64)).max() <= most


def test_digits_add_up() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    low, high = digits(every)
    np.testing.assert_array_equal(high.astype(np.int64) * 256 + low, every)
    assert low.min() == -128 and low.max() == 127
    assert digits(np.array([LARGEST, -LARGEST], np.int16))[1].max() == 127
    assert len(digits(every[(every >= -128) & (every < 128)])) == 1


def test_words_add_up() -> None:
    sums = np.random.default_rng(3).integers(-(2**46), 2**46, 1000)
    high, low = words(sums).astype(np.int64).reshape(2, -1)
    np.testing.assert_array_equal((high << 16) + low, sums)
    assert low.min() >= 0 and low.max() < 1 << 16


@pytest.mark.parametrize("run", [1, 7, 500, 5000])
@pytest.mark.parametrize("loops", [(1, 1), (3, 1), (3, 3)])
def test_partial_sums_fit(run: int, loops: tuple[int, int]) -> None:
    w = np.random.default_rng(run).integers(-128, 128, (2, 4, *loops, run)).astype(np.int16)
    found = PartialSums.of(w, 32768, 2)
    assert found is not None and found.shifts == (0, 8)
    sizes = np.abs(w.astype(np.int64)) * 32768
    if found.elements:
        assert found.elements % 2 == 0 and not found.loops
        pieces = [sizes[..., i : i + found.elements].sum(-1).max() for i in range(0, run, found.elements)]
        assert max(pieces) < 2**31
    else:
        inner = [a for a in (2, 3) if w.shape[a] > 1]
        assert sizes.sum(axis=(*inner[len(inner) - found.loops :], 4)).max() < 2**31


def test_weights_too_large_for_any_part_are_refused() -> None:
    assert PartialSums.of(np.full((1, 1, 1, 1, 8), 40000, np.int64), 32768, 2) is None
