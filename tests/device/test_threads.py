"""Whole networks give the same bits with any number of threads, in every run, by themselves and in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith.codegen import generate
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device.local import Context, Program
from edgesmith.frontend.onnx import bind
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import build, zig
from edgesmith.zoo import build as zoo

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("steps_shared")]

NETWORKS = [
    ("mobilenet-v3-small", 64, 1),
    ("shufflenet-v2-0.5", 64, 3),
    ("squeezenet-1.1", 64, 1),
    ("face-cnn", None, 2),
]


@pytest.mark.parametrize(("name", "size", "batch"), NETWORKS, ids=[n for n, _, _ in NETWORKS])
def test_bits_do_not_depend_on_threads(name: str, size: int | None, batch: int, tmp_path: Path) -> None:
    graph = optimize(bind(zoo(name, image_size=size, batch=batch)))[0]
    plan = make_plan(graph, parse("native"))
    package = generate(plan, name, "test")
    source = tmp_path / "src"
    source.mkdir()
    package.write(source)
    made = build(source, tmp_path, package.name, plan.target, zig(), executable=False)
    program = Program(made["shared"], package.name)
    feeds = selftest_inputs([graph.type(v) for v in graph.inputs])
    results = set()
    for threads in (1, 2, 3, 5, 16):
        context = Context(program, threads)
        for _ in range(3):
            outputs = [np.full(t.shape, np.nan, t.dtype.numpy) for t in program.outputs.values()]
            context.run(feeds, outputs)
            results.add(b"".join(y.tobytes() for y in outputs))
    assert len(results) == 1 and np.isfinite(outputs[0]).all()
    assert sum(s.workers > 1 for s in plan.steps) > len(plan.steps) // 2
