"""Generated C under review: run ``pytest --update-golden`` after a wanted change and read the difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith.codegen import generate
from edgesmith.ir import DType, Graph, Node, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem, Schedule
from edgesmith.ops import OPS
from edgesmith.ops.clip import Clip
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.window import Window
from edgesmith.plan import make_plan
from edgesmith.plan.layout import channels_last
from edgesmith.target import parse

GOLDEN = Path(__file__).parent / "golden"
TARGET = parse("x86_64-linux-gnu+avx2")


def window(kernel: int, stride: int = 1, pad: int = 0) -> Window:
    return Window((kernel,) * 2, (stride,) * 2, (pad,) * 2, (pad,) * 2, (1, 1))


def graph(op: Conv | Gemm, x: tuple[int, ...], weights: tuple[int, ...], *followers: Node, **more: object) -> Graph:
    """The operator on ``x`` with a bias, then nodes from ``y0`` on, the last of which writes ``y``."""
    constants = {"w": np.zeros(weights, np.float32), "b": np.zeros(weights[0], np.float32)}
    types = {"x": TensorType(x, DType.F32)} | {k: TensorType.of(v) for k, v in constants.items()}
    (result,) = op.infer([types["x"], types["w"], types["b"]])
    first = Node("first", op, ("x", "w", "b"), ("y0" if followers else "y",), ("/features/0",))
    made = {v: result for n in (first, *followers) for v in n.outputs}
    inputs = ("x", *(n for n in more))
    types |= made | dict.fromkeys(inputs[1:], result)
    whole = Graph(inputs, ("y",), (first, *followers), types, constants, "golden")
    whole.check()
    return whole


RESIDUAL = (Node("add", OPS["Add"](), ("y0", "r"), ("y1",)), Node("clip", Clip(0.0, 6.0), ("y1",), ("y",)))
RELU = (Node("relu", OPS["Relu"](), ("y0",), ("y",)),)
KERNEL_CASES: dict[str, tuple[str, Graph, Schedule]] = {
    "conv_direct": (
        "direct",
        graph(Conv(window(3, 2, 1), 1), (1, 5, 9, 9), (20, 5, 3, 3), *RELU),
        {"rows": 5, "vectors": 2, "channels": 5, "lines": 2},
    ),
    "conv_direct_groups": (
        "direct",
        graph(Conv(window(3, 1, 0), 2), (2, 6, 5, 5), (8, 3, 3, 3)),
        {"rows": 3, "vectors": 1, "channels": 3, "lines": 2},
    ),
    "conv_depthwise": (
        "depthwise",
        graph(Conv(window(3, 1, 1), 12), (1, 12, 6, 6), (12, 1, 3, 3), *RELU),
        {"columns": 3, "vectors": 1},
    ),
    "conv_depthwise_tile": (
        "depthwise-tile",
        graph(Conv(window(3, 1, 1), 12), (1, 12, 4, 4), (12, 1, 3, 3), *RELU),
        {"lines": 2, "columns": 2, "vectors": 1},
    ),
    "conv_grouped": (
        "grouped",
        graph(Conv(window(1, 2, 0), 2), (1, 8, 4, 4), (8, 4, 1, 1), *RELU),
        {"lines": 2, "columns": 2, "vectors": 1},
    ),
    "conv_indirect": (
        "indirect",
        graph(Conv(window(3, 1, 1), 1), (1, 4, 5, 5), (20, 4, 3, 3), *RELU),
        {"rows": 5, "vectors": 2},
    ),
    "conv_pointwise_residual": (
        "gemm",
        graph(Conv(window(1), 1), (1, 10, 3, 3), (20, 10, 1, 1), *RESIDUAL, r=True),
        {"rows": 5, "vectors": 2, "depth": 10, "tiles": 1, "panels": 2, "packed": 0},
    ),
    "gemm": (
        "gemm",
        graph(Gemm(1.0, 1.0, 0, 1), (3, 7), (9, 7)),
        {"rows": 2, "vectors": 1, "depth": 7, "tiles": 1, "panels": 2, "packed": 0},
    ),
}


def compare(name: str, text: str, update: bool) -> None:
    path = GOLDEN / name
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), "run pytest --update-golden"
    assert text == path.read_text(), f"{name} has changed; run pytest --update-golden and read the difference"


@pytest.mark.parametrize("name", KERNEL_CASES)
def test_kernels(name: str, pytestconfig: pytest.Config) -> None:
    kernel, whole, schedule = KERNEL_CASES[name]
    places = {v: Place(v, View.dense(t, channels_last(t.rank))) for v, t in whole.types.items()}
    region = list(KERNELS[kernel].regions(whole, whole.nodes[0]))[-1]
    problem = Problem(whole, region, places, TARGET)
    assert KERNELS[kernel].accepts(problem) is None and schedule in list(KERNELS[kernel].schedules(problem))
    code = KERNELS[kernel].emit(problem, schedule)
    text = f"/* {code.label}, {code.tasks} tasks */\n{code.text}"
    compare(f"{name}.c", text, pytestconfig.getoption("--update-golden"))


@pytest.mark.parametrize("file", ["golden.h", "golden.c", "es_kernels.h", "weights.c"])
def test_tables(file: str, pytestconfig: pytest.Config) -> None:
    """The files around the kernels; portable, so that no cost model decides what they say."""
    whole = graph(Conv(window(3, 1, 1), 1), (1, 2, 4, 4), (3, 2, 3, 3), *RESIDUAL, r=True)
    package = generate(
        make_plan(whole, parse("x86_64-linux-gnu+portable"), only=["portable", "copy"]), "golden", "test"
    )
    compare(file, package.files[file].decode(), pytestconfig.getoption("--update-golden"))
