"""Prepared memory: filled once a context by ``prepare``, then read by the kernel instead of the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_package import compiled, model, planned, run

from edgesmith.kernels import Code
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE
from edgesmith.oracle import Oracle
from edgesmith.plan import Plan, Step
from edgesmith.toolchain import zig


def with_prepared_weights(step: Step) -> Step:
    """The step with its first constant stored negated; ``prepare`` negates it back into prepared memory."""
    code = step.code
    first = len(step.region.inputs) + len(step.region.outputs)
    last = first + len(code.constants)
    weights = code.constants[0]
    text = f"""{code.text.replace("void @NAME@(", "static void @NAME@_inner(")}
{PREPARE_SIGNATURE} {{
    const float *const stored = (const float *)p[{first}];
    float *const prepared = (float *)p[{last}];
    for (int32_t i = 0; i < {weights.size}; ++i) prepared[i] = -stored[i];
}}
{SIGNATURE} {{
    void *q[{last + 1}];
    for (int32_t i = 0; i <= {last}; ++i) q[i] = p[i];
    q[{first}] = p[{last}];
    @NAME@_inner(q, begin, end, scratch);
}}
"""
    constants = (-weights, *code.constants[1:])
    changed = Code(text, code.label, constants, code.tasks, prepared_bytes=weights.nbytes, functions=code.functions)
    return replace(step, code=changed)


@pytest.mark.parametrize("flags", [(), ("-fsanitize=undefined",)])
def test_kernels_read_what_prepare_wrote(tmp_path: Path, flags: tuple[str, ...]) -> None:
    network = model()
    plan = planned(network)
    convolutions = [s for s in plan.steps if s.region.anchor.op.name == "Conv"]
    assert len(convolutions) == 2
    changed = tuple(with_prepared_weights(s) if s in convolutions else s for s in plan.steps)
    plan = Plan(plan.graph, plan.target, changed, plan.places, plan.buffers, plan.arena, plan.free, plan.copies)
    package, made = compiled(plan, "net", tmp_path, zig(), *flags)
    assert package.prepared_bytes == sum(s.code.prepared_bytes for s in changed)
    x = np.random.default_rng(0).standard_normal((1, 8, 6, 6)).astype(np.float32)
    (y,) = run(package, made, x)
    np.testing.assert_allclose(y, Oracle(network).run({"x": x}, ("y",))["y"], rtol=1e-4, atol=1e-4)
