"""Random models through the whole pipeline, compared with ONNX Runtime.

``EDGESMITH_FUZZ_MODELS`` sets how many models each test tries (default: a dozen), ``EDGESMITH_FUZZ_SEED`` the first.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgesmith import api
from edgesmith.codegen import Package, generate
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device.local import Context, Program
from edgesmith.frontend.onnx import bind
from edgesmith.ir import Graph
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.plan import Plan, make_plan
from edgesmith.target import parse
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import Compiler, system
from edgesmith.verify import accumulate
from instruction_sets import native_sets

from .random_graphs import random_model

Arrays = dict[str, np.ndarray]

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("steps_shared")]

MODELS = int(os.environ.get("EDGESMITH_FUZZ_MODELS", "12"))
FIRST = int(os.environ.get("EDGESMITH_FUZZ_SEED", "0"))
BATCH = 12
"""Models that are compiled together, as one graph of unconnected parts."""

FLAGS = ("-O1", "-Werror")
DRIVER = Path(__file__).parent / "driver.c"


def targets() -> list[str]:
    return ["portable", "native", *(f"native+{isa}" for isa in native_sets()[:-1])]


def batches(offset: int) -> Iterator[range]:
    for first in range(0, MODELS, BATCH):
        yield range(FIRST + offset + first, FIRST + offset + min(first + BATCH, MODELS))


def random_plan(seeds: range, target: str) -> tuple[Plan, Arrays, Arrays]:
    """A plan with inputs and the outputs that ONNX Runtime computes from them."""
    model = random_model(seeds)
    graph, _ = optimize(bind(model))
    feeds = inputs_of(graph)
    expected = Oracle(model, optimized=False).run(feeds, graph.outputs)
    return make_plan(graph, parse(target)), feeds, expected


def inputs_of(graph: Graph) -> Arrays:
    return dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))


def write(package: Package, folder: Path) -> Path:
    source = folder / "src"
    source.mkdir()
    package.write(source)
    return source


def outputs_of(
    plan: Plan, folder: Path, compiler: Compiler, feeds: dict[str, np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """The outputs with 1, 2 and 3 threads; with 3 for the second time in the same context."""
    package = generate(plan, "fuzz", "test")
    source = write(package, folder)
    made = build(source, folder, package.name, plan.target, compiler, extra=FLAGS, executable=False)
    program = Program(made["shared"], package.name)
    for threads in (1, 2, 3):
        context = Context(program, threads)
        for _ in range(2 if threads == 3 else 1):
            outputs = [np.full(plan.graph.type(v).shape, np.nan, np.float32) for v in plan.graph.outputs]
            context.run(list(feeds.values()), outputs)
        yield outputs


@pytest.mark.parametrize("target", targets())
def test_agrees_with_onnx_runtime(target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    compiler = zig() if target == "native" else system("gcc")
    for seeds in batches(1000 * targets().index(target)):
        plan, feeds, expected = random_plan(seeds, target)
        tolerances = accumulate(plan.graph, feeds).tolerances
        first, *others = outputs_of(plan, tmp_path_factory.mktemp("fuzz"), compiler, feeds)
        for i, value in enumerate(plan.graph.outputs):
            for other in others:
                assert first[i].tobytes() == other[i].tobytes(), f"{value} depends on the number of threads"
            with np.errstate(invalid="ignore"):
                difference = np.where(first[i] == expected[value], 0, np.abs(first[i] - expected[value]))
            assert difference.max(initial=0) <= tolerances[value], f"{value} of {seeds}: {difference.max()}"


@pytest.mark.parametrize(
    ("target", "sanitizers"), [("portable", "address,undefined"), ("native", "address,undefined"), ("native", "thread")]
)
def test_memory_and_threads_are_clean(target: str, sanitizers: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No access outside of buffers of exactly the declared size, no undefined behaviour, no data race."""
    options = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g"]
    for seeds in batches(500):
        plan, feeds, _ = random_plan(seeds, target)
        folder = tmp_path_factory.mktemp("clean")
        source = write(generate(plan, "fuzz", "test"), folder)
        program = folder / "driver"
        files = [*sorted(source.glob("kernels_*.c")), source / "fuzz.c", source / "weights.c", DRIVER]
        files += [source / "es_pool.c", source / "es_selftest.c"]
        flags = ["-std=gnu99", *FLAGS, *options, *(f"-m{f}" for f in plan.target.features), "-ffp-contract=off"]
        system("gcc").run([*flags, f"-I{source}", *map(str, files), "-o", str(program), "-lm", "-pthread"], cwd=source)
        printed = []
        for threads in ("1", "3"):
            done = subprocess.run([program, threads], capture_output=True, text=True)
            assert done.returncode == 0, f"{seeds}: {done.stderr}"
            printed.append(done.stdout.split())
        assert printed[0] == printed[1] and len(printed[0]) == len(plan.graph.outputs)
        assert len(set(printed[0])) > 1 and feeds


def test_whole_pipeline_from_a_file(tmp_path: Path) -> None:
    """``normalize`` and the verification included."""
    artifact = api.compile(random_model(range(FIRST + 300, FIRST + 304)), output=tmp_path / "a", cache=False)
    assert artifact.manifest["model"]["name"] == "random"
