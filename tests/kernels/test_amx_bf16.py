"""Products of bf16 in tile registers: emulated, refused by the system, and as the compiler's intrinsics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith.c.vector import header
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS, Problem, Reject
from edgesmith.ops.base import Case
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.window import Window
from edgesmith.target import Target, parse
from edgesmith.toolchain.compiler import FLAGS, zig
from edgesmith.tune.trial import Trial, TrialLibrary
from edgesmith.verify.tolerance import region_bounds

from .emulation import emulated, needs_emulation, write_headers
from .problems import Check, References, case_graph, failures, feeds, places, with_epilogue

KERNEL = KERNELS["bf16-amx"]
AMX = parse("x86_64-linux-gnu+amx")


def bf16(*shape: int) -> np.ndarray:
    values = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


def convolution(shape: tuple[int, ...], filters: int, kernel: int, **window: Any) -> Case:
    pads = (kernel // 2, kernel // 2)
    given = {"strides": (1, 1), "pads_begin": pads, "pads_end": pads, "dilations": (1, 1), **window}
    weights = bf16(filters, shape[1], kernel, kernel)
    bias = np.linspace(-1, 1, filters, dtype=np.float32)
    return Case(Conv(Window((kernel, kernel), **given)), (TensorType(shape, DType.F32), weights, bias))


CASES = {
    "deep": convolution((1, 70, 9, 11), 100, 3),
    "every other pixel": convolution((2, 36, 13, 12), 40, 3, strides=(2, 2)),
    "dilated": convolution((1, 34, 12, 9), 48, 3, dilations=(2, 2), pads_begin=(2, 1), pads_end=(0, 3)),
    "pointwise": convolution((1, 300, 7, 7), 130, 1),
    "a prime number of pairs": convolution((1, 58, 6, 6), 20, 1),
    "fully connected": Case(Gemm(transB=1), (TensorType((3, 130), DType.F32), bf16(40, 130), bf16(40))),
    "matrix": Case(MatMul(), (TensorType((45, 128), DType.F32), bf16(128, 33))),
}


def rounded(graph: Graph) -> Graph:
    """The graph with its first input rounded to bf16."""
    x = graph.inputs[0]
    casts = (Node("narrow", Cast(DType.BF16), (x,), ("bf16",)), Node("widen", Cast(DType.F32), ("bf16",), ("rounded",)))
    nodes = [replace(n, inputs=tuple("rounded" if v == x else v for v in n.inputs)) for n in graph.nodes]
    kind = graph.type(x)
    types = {**graph.types, "bf16": TensorType(kind.shape, DType.BF16), "rounded": kind}
    return Graph(graph.inputs, graph.outputs, (*casts, *nodes), types, graph.constants)


def problem_of(graph: Graph, target: Target, layout: str = "channels_last") -> Problem:
    anchor = next(n for n in graph.nodes if n.name == "node")
    return Problem(graph, list(KERNEL.regions(graph, anchor))[-1], places(graph, layout), target)


def spoil(x: np.ndarray) -> None:
    """Put an infinite number first into the second pixel or row, and numbers that tiles take for 0 elsewhere."""
    x[(0, 0, 0, 1) if x.ndim == 4 else (1, 0)] = np.inf
    x.flat[[2, x.size // 2, x.size - 1]] = (1e-39, -1e-41, 3e-39)


def every_schedule(case: Case, name: str, target: Target) -> Iterator[Check]:
    plain = case_graph(case)
    chained = with_epilogue(plain)
    assert chained is not None
    for graph, layout in ((rounded(plain), "channels_last"), (rounded(chained), "part")):
        given = feeds(graph)
        spoil(given[graph.inputs[0]])
        with np.errstate(all="ignore"):
            expected = graph.reference(given)
        problem = problem_of(graph, target, layout)
        assert KERNEL.accepts(problem) is None, name
        for schedule in KERNEL.schedules(problem):
            computed = {"node": (KERNEL, schedule)}
            with np.errstate(all="ignore"):
                bounds = region_bounds(References(graph), problem.region.nodes, expected, computed)
            values = {v: expected[v] for v in problem.region.inputs}
            label = f"{name} {problem.region.label} {dict(schedule)} {layout}"
            yield Check(label, Trial(problem, KERNEL, schedule), values, expected, bounds)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_headers(tmp_path_factory.mktemp("headers"))


@pytest.mark.parametrize("flags", [(), ("-DEMULATED_DENIAL",)], ids=["granted", "denied"])
class TestEmulated:
    pytestmark = needs_emulation

    def test_every_schedule(self, flags: tuple[str, ...], headers: Path) -> None:
        target = emulated("amx")
        todo = [c for name, case in CASES.items() for c in every_schedule(case, name, target)]
        library = TrialLibrary([c.trial for c in todo], target, zig(), ("-w", "-O1", f"-I{headers}", *flags))
        wrong = failures(todo, library)
        assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])


@pytest.mark.toolchain
def test_the_compilers_intrinsics(tmp_path: Path) -> None:
    (tmp_path / "es_simd.h").write_text(header(AMX))
    signatures = "void f(void *const *p, int32_t begin, int32_t end, void *scratch);\nvoid f_prepare(void *const *p);\n"
    text = next(every_schedule(CASES["deep"], "deep", AMX)).trial.code.text.replace("@NAME@", "f")
    (tmp_path / "kernel.c").write_text('#include "es_simd.h"\n' + signatures + text)
    compiler = zig()
    flags = [*compiler.flags(AMX), *FLAGS, "-Werror", "-Wno-unused-command-line-argument"]
    compiler.run([*flags, "-S", "kernel.c", "-o", "kernel.s"], cwd=tmp_path)
    assert "tdpbf16ps" in (tmp_path / "kernel.s").read_text()


def test_what_bf16_does_not_hold_is_refused() -> None:
    def reason(graph: Graph, target: Target = AMX) -> str:
        reject = KERNEL.accepts(problem_of(graph, target))
        assert isinstance(reject, Reject)
        return reject.reason

    graph = case_graph(CASES["pointwise"])
    assert "not rounded" in reason(graph)
    assert "no tiles" in reason(rounded(graph), parse("x86_64-linux-gnu+avx512vnni"))
    op, (x, weights, bias) = CASES["pointwise"].op, CASES["pointwise"].inputs
    assert isinstance(weights, np.ndarray)
    assert "not bf16" in reason(rounded(case_graph(Case(op, (x, weights * np.float32(1.001), bias)))))
    assert "multiple of 2" in reason(rounded(case_graph(convolution((1, 3, 8, 8), 16, 3))))


def test_it_is_predicted_to_win_where_sums_are_long() -> None:
    graph = rounded(case_graph(convolution((1, 128, 28, 28), 128, 3)))
    problem = problem_of(graph, AMX)
    floats = [k for k in KERNELS.values() if k.name != KERNEL.name and k.accepts(problem) is None]
    best = min(k.cost(problem, s) for k in floats for s in k.schedules(problem))
    assert min(KERNEL.cost(problem, s) for s in KERNEL.schedules(problem)) < best / 2
