"""What describes a problem and a schedule: digests for the database, numbers for learning."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from edgesmith.kernels import Code, Problem
from edgesmith.tune.database import Features

__all__ = ["candidate_features", "code_digest", "problem_digest", "problem_features"]


def problem_digest(problem: Problem) -> str:
    """Equal for problems that a kernel solves equally fast; the number of cores does not enter."""
    alone = replace(problem, target=replace(problem.target, cores=1))
    return _digest(alone.signature)


def code_digest(code: Code) -> str:
    """Equal for equal C text."""
    return _digest("\n".join((code.text, *code.functions)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def problem_features(problem: Problem) -> Features:
    """Amount of work, shapes, attributes of the anchor, and what is fused with it; the same for every kernel."""
    cost, region = problem.cost, problem.region
    found: dict[str, float | str] = {
        "operator": problem.anchor.op.name,
        "nodes": len(region.nodes),
        "inputs": len(region.inputs),
        "outputs": len(region.outputs),
        "macs": cost.macs,
        "flops": cost.flops,
        "bytes": problem.bytes_moved,
        "run_time_bytes": sum(problem.type(v).nbytes for v in (*region.inputs, *region.outputs)),
    }
    for name, view in (
        *((f"input{i}", problem.view(v)) for i, v in enumerate(region.inputs[:1])),
        *((f"output{i}", problem.view(v)) for i, v in enumerate(region.outputs[:1])),
    ):
        found |= {f"{name}.size{a}": n for a, n in enumerate(view.shape)}
        found |= {f"{name}.stride{a}": n for a, n in enumerate(view.strides)}
    found |= dict(_numbers("", problem.anchor.op))
    return {k: v for k, v in found.items() if isinstance(v, str) or math.isfinite(v)}


def _numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every number in a dataclass and in what it holds, named by its path."""
    if isinstance(value, bool | int | float):
        yield prefix, float(value)
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from _numbers(f"{prefix}.{i}", item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(f"{prefix}.{field.name}", getattr(value, field.name))


def candidate_features(problem: Features, kernel: str, schedule: Mapping[str, int], predicted_ns: float) -> Features:
    """A problem's features together with the kernel, its schedule and its own prediction."""
    found = dict(problem)
    found["kernel"] = kernel
    found |= {f"schedule.{name}": value for name, value in schedule.items()}
    found["schedule"] = math.prod(max(abs(v), 1) for v in schedule.values())
    found["predicted"] = predicted_ns
    found["macs_per_predicted"] = float(problem.get("macs", 0.0)) / max(predicted_ns, 1.0)
    found["bytes_per_predicted"] = float(problem.get("bytes", 0.0)) / max(predicted_ns, 1.0)
    return found
