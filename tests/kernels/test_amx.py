"""Integer products in tile registers: emulated, refused by the system, and as the compiler's intrinsics."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith import api
from edgesmith.c.vector import header
from edgesmith.ir import DType, Graph, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.ops.base import Case
from edgesmith.ops.integer_products import ConvInteger, MatMulInteger
from edgesmith.ops.window import Window
from edgesmith.recipe import Recipe
from edgesmith.target import Target, parse
from edgesmith.toolchain.compiler import FLAGS, zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .emulation import emulated, needs_emulation, write_headers
from .problems import Check, case_graph, checks, failures, feeds, operator_cases, places, requantized

KERNEL = KERNELS["integer-amx"]
AMX = parse("x86_64-linux-gnu+amx")
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def convolution(shape: tuple[int, ...], dtype: DType, filters: int, kernel: int, **window: Any) -> Case:
    pads = (kernel // 2, kernel // 2)
    given = {"strides": (1, 1), "pads_begin": pads, "pads_end": pads, "dilations": (1, 1), **window}
    rng = np.random.default_rng(7)
    weights = rng.integers(-128, 128, (filters, shape[1], kernel, kernel)).astype(np.int8)
    zero = np.array(131 if dtype is DType.U8 else -9, dtype.numpy)
    return Case(ConvInteger(Window((kernel, kernel), **given)), (TensorType(shape, dtype), weights, zero))


def product(rows: int, depth: int, columns: int) -> Case:
    weights = np.random.default_rng(8).integers(-128, 128, (depth, columns)).astype(np.int8)
    return Case(MatMulInteger(), (TensorType((rows, depth), DType.U8), weights, np.array(3, np.uint8)))


CASES = {
    "deep": convolution((1, 70, 9, 11), DType.U8, 100, 3),
    "deep, signed, every other pixel": convolution((2, 37, 13, 12), DType.I8, 40, 3, strides=(2, 2)),
    "uneven strides": convolution((1, 20, 9, 14), DType.U8, 17, 3, strides=(1, 3)),
    "dilated": convolution((1, 33, 12, 9), DType.U8, 48, 3, dilations=(2, 2), pads_begin=(2, 1), pads_end=(0, 3)),
    "5x5": convolution((1, 9, 7, 7), DType.I8, 24, 5),
    "pointwise": convolution((1, 300, 7, 7), DType.U8, 130, 1),
    "pointwise, every other pixel": convolution((1, 64, 8, 8), DType.U8, 32, 1, strides=(2, 2)),
    "matrix": product(45, 129, 33),
    "row": product(1, 260, 200),
}


def every_schedule(case: Case, name: str, target: Target) -> Iterator[Check]:
    """Each schedule, without an epilogue and with one, whose bits are specified."""
    plain = case_graph(case)
    chained = requantized(plain)
    assert chained is not None
    for graph, layout in ((plain, "channels_last"), (chained, "part")):
        given = feeds(graph)
        expected = graph.reference(given)
        problem = problem_of(graph, target, layout)
        for schedule in KERNEL.schedules(problem):
            outputs = dict.fromkeys(graph.outputs, 0.0)
            label = f"{name} {problem.region.label} {dict(schedule)} {layout}"
            yield Check(label, Trial(problem, KERNEL, schedule), given, expected, outputs)


def problem_of(graph: Graph, target: Target, layout: str = "channels_last") -> Problem:
    region = list(KERNEL.regions(graph, graph.nodes[0]))[-1]
    return Problem(graph, region, places(graph, layout), target)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_headers(tmp_path_factory.mktemp("headers"))


@pytest.mark.parametrize("flags", [(), ("-DEMULATED_DENIAL",)], ids=["granted", "denied"])
class TestEmulated:
    pytestmark = needs_emulation

    def compare(self, todo: list[Check], target: Target, flags: tuple[str, ...]) -> None:
        library = TrialLibrary([c.trial for c in todo], target, zig(), ("-w", "-O1", *flags))
        wrong = failures(todo, library)
        assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])

    def test_cases_of_operators(self, flags: tuple[str, ...], headers: Path) -> None:
        target = emulated("amx")
        todo = [c for name, case in operator_cases() for c in checks(case, name, target, [KERNEL.name])][::3]
        assert {c.name.partition(" ")[0] for c in todo} > {"ConvInteger-3x3-odd", "MatMulInteger-batched"}
        self.compare(todo, target, (f"-I{headers}", *flags))

    def test_every_schedule(self, flags: tuple[str, ...], headers: Path) -> None:
        target = emulated("amx")
        todo = [c for name, case in CASES.items() for c in every_schedule(case, name, target)]
        shapes = {(c.trial.schedule["down"], c.trial.schedule["vectors"], c.trial.schedule["joined"]) for c in todo}
        assert {(2, 2, 0), (2, 2, 1)} < shapes
        self.compare(todo, target, (f"-I{headers}", *flags))

    def test_whole_programs_with_threads(self, flags: tuple[str, ...], headers: Path, tmp_path: Path) -> None:
        if shutil.which("gcc") is None:
            pytest.skip("gcc is not installed")
        graph = requantized(case_graph(CASES["deep, signed, every other pixel"]))
        assert graph is not None
        without = tuple(f"-mno-{f}" for f in AMX.features if f.startswith(("avx512", "amx")))
        recipe = Recipe(str(AMX), compiler="gcc", flags=("-w", f"-I{headers}", *without, *SANITIZERS, *flags))
        artifact = api.compile_graph(graph, recipe, tmp_path / "out", verify=False)
        assert KERNEL.name in {s["kernel"] for s in artifact.manifest["steps"]}
        for threads in ("1", "3"):
            command = [artifact.executable, "--selftest", "--threads", threads]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.toolchain
def test_the_compilers_intrinsics(tmp_path: Path) -> None:
    (tmp_path / "es_simd.h").write_text(header(AMX))
    code = [next(every_schedule(case, name, AMX)).trial.code.text for name, case in CASES.items()]
    texts = [text.replace("@NAME@", f"f{i}") for i, text in enumerate(code)]
    signatures = [
        f"void f{i}(void *const *p, int32_t begin, int32_t end, void *scratch);\nvoid f{i}_prepare(void *const *p);\n"
        for i in range(len(texts))
    ]
    (tmp_path / "kernels.c").write_text('#include "es_simd.h"\n' + "".join(signatures) + "\n".join(texts))
    compiler = zig()
    flags = [*compiler.flags(AMX), *FLAGS, "-Werror", "-Wno-unused-command-line-argument"]
    compiler.run([*flags, "-S", "kernels.c", "-o", "kernels.s"], cwd=tmp_path)
    assembly = (tmp_path / "kernels.s").read_text()
    for instruction in ("ldtilecfg", "tileloadd", "tdpbusd", "tilestored", "tilerelease", "vpdpbusd", "syscall"):
        assert instruction in assembly


def cost(case: Case, kernel: str) -> float:
    problem = problem_of(case_graph(case), AMX)
    return min(KERNELS[kernel].cost(problem, s) for s in KERNELS[kernel].schedules(problem))


def test_it_is_predicted_to_win_where_sums_are_long_and_channels_many() -> None:
    for case in (
        convolution((1, 128, 28, 28), DType.U8, 128, 3),
        convolution((1, 256, 14, 14), DType.U8, 256, 1),
        product(64, 512, 512),
    ):
        assert cost(case, "integer-amx") < cost(case, "integer-tiles") / 1.5
    for case in (convolution((1, 3, 32, 32), DType.U8, 8, 3), product(1, 16, 10), product(1, 2048, 1000)):
        assert cost(case, "integer-amx") > cost(case, "integer-tiles") * 0.99


def test_targets_without_tiles_and_wide_weights_are_refused() -> None:
    graph = case_graph(CASES["matrix"])
    assert KERNEL.accepts(problem_of(graph, parse("x86_64-linux-gnu+avx512vnni"))) is not None
    weights = np.random.default_rng(9).integers(0, 256, (20, 8)).astype(np.uint8)
    op = (TensorType((4, 20), DType.U8), weights, None, np.array(0, np.uint8))
    reject = KERNEL.accepts(problem_of(case_graph(Case(MatMulInteger(), op)), AMX))
    assert reject is not None and "i8" in reject.reason
