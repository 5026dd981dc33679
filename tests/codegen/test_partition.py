"""How workers share the tasks of a step: by cost, in order, the same way every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_package import compiled

from edgesmith.device.local import Context, Program
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import Code
from edgesmith.kernels.base import SIGNATURE
from edgesmith.ops import OPS
from edgesmith.plan import Plan, Step, make_plan
from edgesmith.target import parse
from edgesmith.toolchain import zig

TASKS = 40
PREDICTED_NS = 1e6
COSTS = {
    "equal": (),
    "last is short": (*(10,) * (TASKS - 1), 1),
    "falling": tuple(range(TASKS, 0, -1)),
    "one is all": (*(1,) * 20, 10_000, *(1,) * (TASKS - 21)),
    "beyond 31 bits": (*(2**33,) * 20, *(2**34,) * (TASKS - 20)),
    "random": tuple(int(c) for c in np.random.default_rng(0).integers(1, 100, TASKS)),
}
WHO = f"""{SIGNATURE} {{
    float *const y = (float *)p[1];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) y[task] = (float)begin;
}}
"""
"""Each task leaves the first task of its part."""


def step(given: Step, costs: tuple[int, ...], predicted_ns: float | None) -> Step:
    code = Code(WHO, f"who_{len(COSTS)}", tasks=TASKS, task_costs=costs)
    considered = (replace(given.considered[0], predicted_ns=predicted_ns), *given.considered[1:])
    return replace(given, code=code, considered=considered)


def plan(costs: tuple[int, ...], predicted_ns: float | None = PREDICTED_NS) -> Plan:
    kind = TensorType((TASKS,), DType.F32)
    graph = Graph(("x",), ("y",), (Node("relu", OPS["Relu"](), ("x",), ("y",)),), {"x": kind, "y": kind}, {})
    made = make_plan(graph, parse("native"))
    return replace(made, steps=tuple(step(s, costs, predicted_ns) for s in made.steps))


def parts(program: Program, threads: int) -> list[range]:
    y = np.full(TASKS, -1, np.float32)
    Context(program, threads).run([np.zeros(TASKS, np.float32)], [y])
    starts = np.unique(y).astype(int)
    assert (y == starts[np.searchsorted(starts, np.arange(TASKS), "right") - 1]).all(), "a part is no range"
    return [range(a, b) for a, b in zip(starts, [*starts[1:], TASKS], strict=True)]


@pytest.mark.toolchain
@pytest.mark.parametrize("name", COSTS)
def test_parts_cost_the_same_as_far_as_tasks_allow(name: str, tmp_path: Path) -> None:
    costs = COSTS[name] or (1,) * TASKS
    package, made = compiled(plan(COSTS[name]), "who", tmp_path, zig())
    program = Program(made["shared"], package.name)
    for threads in (1, 2, 3, 5, 16, 64):
        found = parts(program, threads)
        assert found == parts(program, threads)
        assert found[0].start == 0 and len(found) <= min(threads, TASKS)
        share = sum(costs) / min(threads, TASKS)
        assert max(sum(costs[t] for t in part) for part in found) <= share + max(costs)
    if name == "one is all":
        assert range(20, 21) in parts(program, 16)


@pytest.mark.parametrize(
    ("predicted_ns", "workers"), [(100.0, 1), (1999.0, 1), (2500.0, 2), (1e9, TASKS), (None, TASKS)]
)
def test_a_short_step_is_shared_by_few(predicted_ns: float | None, workers: int) -> None:
    (only,) = plan((), predicted_ns).steps
    assert only.workers == workers


@pytest.mark.toolchain
def test_a_short_step_stays_in_one_thread(tmp_path: Path) -> None:
    package, made = compiled(plan((), 500.0), "who", tmp_path, zig())
    assert parts(Program(made["shared"], package.name), 8) == [range(TASKS)]
