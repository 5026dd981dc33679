"""The manifest: everything about an artifact that is worth knowing later, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesmith.codegen import Package
from edgesmith.device.artifact import FORMAT
from edgesmith.ir import Graph, TensorType
from edgesmith.passes import PassReport
from edgesmith.passes.quantized_values import Quantization
from edgesmith.plan import Plan, Step
from edgesmith.plan.fit import as_json

__all__ = ["describe"]


_OF_A_VARIANT = ("target", "isas", "lock", "outputs", "memory", "steps", "free", "copies", "patches")
"""Entries that differ between the variants of a program."""


def describe(
    plans: Mapping[str, Plan],
    package: Package,
    *,
    tolerances: Mapping[str, Mapping[str, float]],
    threads: int,
    model: Mapping[str, Any],
    tools: Mapping[str, str],
    passes: PassReport,
    quantizations: Mapping[str, Quantization],
) -> dict[str, Any]:
    """The manifest of a package, without the file hashes.

    What differs between variants stands under the name of each; ``Artifact.manifest`` brings one of them back.

    Args:
        plans: by variant, best first; one, where the package has no variants.
        tolerances: largest absolute difference from the reference for each output, by variant.
        model: name and hash of the source model, its shapes and bindings.
        tools: names and versions of what made the artifact.
        passes: what the passes did, and what they left.
        quantizations: how integers stand for numbers, of inputs and outputs where that is known.
    """

    def described(variant: str) -> dict[str, Any]:
        part = package.variants.get(variant, package)
        return _describe(plans[variant], part, tolerances[variant], threads, model, tools, passes, quantizations)

    if not package.variants:
        (only,) = plans
        return described(only)
    parts = {variant: described(variant) for variant in plans}
    shared = {key: value for key, value in next(iter(parts.values())).items() if key not in _OF_A_VARIANT}
    return {
        **shared,
        "build": package.build,
        "weights_bytes": package.weights.nbytes,
        "variants": {variant: {key: part[key] for key in _OF_A_VARIANT} for variant, part in parts.items()},
    }


def _describe(
    plan: Plan,
    package: Package,
    tolerances: Mapping[str, float],
    threads: int,
    model: Mapping[str, Any],
    tools: Mapping[str, str],
    passes: PassReport,
    quantizations: Mapping[str, Quantization],
) -> dict[str, Any]:
    graph = plan.graph

    def tensor(value: str) -> dict[str, Any]:
        known = quantizations.get(value)
        stands_for = {"scale": float(known.scale), "zero_point": known.zero} if known else {}
        return {**_tensor(value, graph.type(value)), **stands_for}

    return {
        "format": FORMAT,
        "name": package.name,
        "tools": dict(tools),
        "target": str(plan.target),
        "device": plan.target.device or None,
        "isas": list(plan.target.isas),
        "threads": threads,
        "model": dict(model),
        "graph": graph.digest,
        "lock": plan.lock.digest,
        "build": package.build,
        "inputs": [tensor(v) for v in graph.inputs],
        "outputs": [{**tensor(v), "tolerance": tolerances[v]} for v in graph.outputs],
        "preprocess": None,
        "memory": {
            "arena_bytes": plan.arena.nbytes,
            "arena_lower_bound_bytes": plan.arena.lower_bound,
            "arena_naive_bytes": plan.arena.naive,
            "prepared_bytes": package.prepared_bytes,
            "scratch_bytes_per_worker": plan.scratch_bytes,
            "weights_bytes": package.weights.nbytes,
            "peak": as_json(plan),
        },
        "patches": vars(plan.patching) if plan.patching else None,
        "passes": dict(passes.applied),
        "skipped": [{"pass": p, "node": n, "reason": reason} for (p, n), reason in passes.skipped.items()],
        "steps": [_step(graph, s, f) for s, f in zip(plan.steps, package.functions, strict=True)],
        "predicted": _predicted(plan),
        "free": dict(plan.free),
        "copies": dict(plan.copies),
    }


def _predicted(plan: Plan) -> dict[str, Any] | None:
    """Time of one run on one thread by the kernels' models, and the factor within which it is likely right."""
    target = plan.target
    if not target.core.uncertainty:
        return None
    time_ns = sum(step.kernel.cost(step.problem, step.schedule) for step in plan.steps)
    factor = target.core.uncertainty
    return {"core": target.core.name, "gigahertz": target.gigahertz, "ns": round(time_ns, 1), "factor": factor}


def _tensor(name: str, type: TensorType) -> dict[str, Any]:
    return {"name": name, "dtype": str(type.dtype), "shape": list(type.shape)}


def _step(graph: Graph, step: Step, function: str) -> dict[str, Any]:
    cost = step.problem.cost
    return {
        "name": step.name,
        "operators": step.region.label,
        "nodes": [n.name for n in step.region.nodes],
        "origin": list(dict.fromkeys(o for n in step.region.nodes for o in n.origin)),
        "inputs": list(step.region.inputs),
        "outputs": list(step.region.outputs),
        "shape": [list(graph.type(v).shape) for v in step.region.outputs],
        "kernel": step.kernel.name,
        "schedule": dict(step.schedule),
        "function": function,
        "tasks": step.code.tasks,
        "macs": cost.macs,
        "flops": cost.flops,
        "bytes": step.problem.bytes_moved,
        "predicted_ns": _candidates(step)[0]["predicted_ns"],
        "considered": _candidates(step),
    }


def _candidates(step: Step) -> Sequence[dict[str, Any]]:
    return [
        {"kernel": c.kernel, "predicted_ns": round(c.predicted_ns, 1), "schedule": dict(c.schedule)}
        if c.predicted_ns is not None
        else {"kernel": c.kernel, "reason": c.reason}
        for c in step.considered
    ]
