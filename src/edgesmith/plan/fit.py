"""Whether a plan fits a device: how much memory each step needs, which buffers are alive there, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgesmith.errors import DoesNotFit
from edgesmith.ir import DType
from edgesmith.plan.memory import Space
from edgesmith.plan.patches import shortened
from edgesmith.plan.plan import Plan

__all__ = ["Demand", "as_json", "demands", "ram_bytes", "require_flash", "require_ram"]

SHOWN_STEPS = 3


@dataclass(frozen=True)
class Demand:
    """What one step needs while it runs.

    Args:
        step: its name.
        operators: what it computes.
        buffers: values in memory, their bytes, largest first: those of the arena, and the program's inputs and outputs.
        scratch_bytes: working memory of its kernel.
    """

    step: str
    operators: str
    buffers: tuple[tuple[str, int], ...]
    scratch_bytes: int

    @property
    def nbytes(self) -> int:
        return self.scratch_bytes + sum(n for _, n in self.buffers)

    def __str__(self) -> str:
        parts = [f"{shortened(value)} {nbytes}" for value, nbytes in self.buffers]
        parts += [f"scratch {self.scratch_bytes}"] if self.scratch_bytes else []
        return f"{shortened(self.step)} ({self.operators}): {self.nbytes} bytes: {', '.join(parts)}"


def demands(plan: Plan) -> tuple[Demand, ...]:
    """What each step needs, in the order of execution.

    A value that takes over another's memory counts once.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, step in enumerate(plan.steps):
        for value in (*step.region.inputs, *step.region.outputs):
            root = plan.places[value].root
            first.setdefault(root, i)
            last[root] = i
    outside = [(v, b.nbytes) for v, b in plan.buffers.items() if b.space in (Space.INPUT, Space.OUTPUT)]
    found = []
    for i, step in enumerate(plan.steps):
        alive: dict[int, tuple[str, int]] = {}
        for root in first:
            buffer = plan.buffers[root]
            if buffer.space is Space.ARENA and first[root] <= i <= last[root]:
                known = alive.get(buffer.at)
                if known is None or known[1] < buffer.nbytes:
                    alive[buffer.at] = root, buffer.nbytes
        buffers = sorted((*alive.values(), *outside), key=lambda b: (-b[1], b[0]))
        found.append(Demand(step.name, step.region.label, tuple(buffers), step.code.scratch_bytes))
    return tuple(found)


def ram_bytes(plan: Plan) -> int:
    """Memory for values, working memory of one thread, and inputs and outputs; without what ``prepare`` fills."""
    outside = sum(b.nbytes for b in plan.buffers.values() if b.space in (Space.INPUT, Space.OUTPUT))
    return plan.arena.nbytes + plan.scratch_bytes + outside


def require_ram(plan: Plan, needed: int, limit: int, owner: str, tried: Sequence[str] = ()) -> None:
    """Check that a program works in ``limit`` bytes.

    Args:
        needed: of the context, inputs and outputs.
        owner: who sets the limit.
        tried: what was done to need less.

    Raises:
        DoesNotFit: it needs more; the message names the steps that need most.
    """
    if needed <= limit:
        return
    worst = sorted(demands(plan), key=lambda d: -d.nbytes)[:SHOWN_STEPS]
    lines = [f"needs {needed} bytes of RAM, {needed - limit} more than the {limit} of {owner}. Most is needed by:"]
    lines += [f"  {demand}" for demand in worst]
    lines += [f"  tried: {what}" for what in tried]
    raise DoesNotFit(
        "\n".join(lines), where=plan.graph.name, hint=f"What would help: {'; '.join(_remedies(plan, worst))}."
    )


def require_flash(plan: Plan, weights: int, code: int | None, limit: int, owner: str) -> None:
    """Check that weights and code fit; raises ``DoesNotFit`` naming the layers with the largest weights.

    Args:
        code: None: it was not compiled yet, so that the weights alone are looked at.
    """
    needed = weights + (code or 0)
    if needed <= limit:
        return
    sizes = ((sum(a.nbytes for a in s.code.constants), s.name) for s in plan.steps)
    largest = sorted(sizes, reverse=True)[:SHOWN_STEPS]
    parts = "for the weights alone" if code is None else f"({weights} weights, {code} code)"
    lines = [f"needs {needed} bytes of flash {parts}, the limit of {owner} is {limit}."]
    lines += [f"  {shortened(name)}: {nbytes} bytes of weights" for nbytes, name in largest]
    floats = any(a.dtype.kind == "f" and a.size > 1 for s in plan.steps for a in s.code.constants)
    remedies = ["--precision int8 (a quarter of the weights)"] if floats else []
    hint = "; ".join((*remedies, "a network with fewer channels", "a device with more flash"))
    raise DoesNotFit("\n".join(lines), where=plan.graph.name, hint=f"What would help: {hint}.")


def _remedies(plan: Plan, worst: Sequence[Demand]) -> list[str]:
    graph, remedies = plan.graph, []
    held = [v for v, _ in worst[0].buffers if v in graph.types] if worst else []
    if any(graph.type(v).dtype is DType.F32 for v in held if v not in (*graph.inputs, *graph.outputs)):
        remedies.append("--precision int8 (a quarter of the memory of f32 values)")
    elif any(graph.type(v).dtype is DType.F32 for v in graph.inputs):
        remedies.append("--input-type quantized (a quarter of the memory of f32 inputs)")
    if any(graph.type(v).rank == 4 for v in graph.inputs):
        remedies.append("a smaller input")
    return [*remedies, "a network with fewer channels in these layers", "a device with more RAM"]


def as_json(plan: Plan) -> list[Mapping[str, object]]:
    """The steps that need most, for the manifest."""
    worst = sorted(demands(plan), key=lambda d: -d.nbytes)[:SHOWN_STEPS]
    return [
        {"step": d.step, "bytes": d.nbytes, "buffers": dict(d.buffers), "scratch_bytes": d.scratch_bytes} for d in worst
    ]
