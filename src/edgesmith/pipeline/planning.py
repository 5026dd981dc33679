"""How a recipe chooses kernels, and the precision of layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgesmith import tune as tuning
from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS
from edgesmith.passes import optimize
from edgesmith.pipeline.limits import Limits
from edgesmith.pipeline.progress import Progress
from edgesmith.plan import CostModel, Lock, Patching, Plan, analytic, make_plan
from edgesmith.plan.fitting import fit
from edgesmith.plan.select import Selector
from edgesmith.quantize import Quantized
from edgesmith.recipe import Recipe
from edgesmith.target import Target, parse, variants
from edgesmith.toolchain import Compiler, zig
from edgesmith.toolchain.compiler import system

__all__ = ["allowed_kernels", "checked_isas", "compiler_of", "lock_text", "mixed_precision", "planned", "targets_of"]


def planned(
    graph: Graph, target: Target, tool: Compiler, recipe: Recipe, budget_seconds: float, report: Progress
) -> Plan:
    """The plan by the recipe's lock, or by predicted or measured times; within the RAM that there is, if possible."""

    def steps(done: int, total: int) -> None:
        report("plan", done, total)

    if recipe.lock is not None:
        lock = Lock.from_json(recipe.lock)
        return make_plan(graph, target, only=recipe.only, lock=lock, progress=steps)
    if recipe.tune == "full":
        tuned = tuning.tune(
            graph,
            target,
            tool,
            only=recipe.only,
            budget_seconds=budget_seconds,
            progress=lambda s: report("tune", min(int(s.seconds), int(budget_seconds)), int(budget_seconds)),
        )
        return tuned.plan
    cost, room = _cost(recipe, target, tool), Limits.of(recipe, target).planned_ram(target)
    selector = Selector(target, cost, None if recipe.only is None else frozenset(recipe.only))

    def plan_of(patching: Patching | None) -> Plan:
        return make_plan(graph, target, progress=steps, patching=patching, selector=selector)

    return fit(plan_of, room)


def mixed_precision(
    quantized: Quantized, recipe: Recipe, budget_seconds: float, report: Progress
) -> tuning.PrecisionChoice:
    """Which products stay in floats, by measured or predicted times."""
    target, tool = parse(recipe.target), compiler_of(recipe)
    every = frozenset(quantized.products)

    def graph_of(floats: frozenset[str]) -> Graph:
        return optimize(quantized.with_floats(floats).graph)[0]

    if recipe.tune == "full":
        for floats in (every, frozenset[str]()):
            planned(graph_of(floats), target, tool, recipe, budget_seconds / 3, report)
    return tuning.choose_precision(
        quantized.products,
        graph_of,
        target,
        _cost(recipe, target, tool),
        recipe.only,
        lambda i, n: report("precision", i, n),
    )


def _cost(recipe: Recipe, target: Target, tool: Compiler) -> CostModel:
    """Measured times where the recipe allows and the database knows any, predicted ones elsewhere."""
    if recipe.tune == "off":
        return analytic
    allowed = None if recipe.only is None else frozenset(recipe.only)
    return tuning.MeasuredCost(tuning.recorded(target, tool), only=allowed)


def targets_of(recipe: Recipe) -> tuple[Target, ...]:
    """What the recipe compiles for: one target, or the variants of a program that picks among them, best first.

    Raises:
        TargetError: there is no such target.
        BadInput: the recipe has threads, and the target has none.
    """
    found = variants(recipe.target, recipe.isas) if recipe.isas else (parse(recipe.target),)
    if recipe.threads > 1 and not found[0].has_threads:
        raise BadInput(f"programs for {recipe.target} have one thread", where="threads", hint="omit it")
    return found


def checked_isas(isas: Sequence[str], lock: str | None, auto: bool) -> tuple[str, ...]:
    """The instruction sets of a recipe; raises ``BadInput`` for what goes with one set alone."""
    if isas and lock is not None:
        hint = "Artifacts keep one for each set (lock.avx2.json); lock one target at a time."
        raise BadInput("a lock holds the choices for one instruction set", where="--lock", hint=hint)
    if isas and auto:
        hint = "Name a precision, or compile for one set."
        raise BadInput("auto chooses by the times of one instruction set", where="--precision", hint=hint)
    return tuple(isas)


def allowed_kernels(only: Sequence[str] | None, forbid: Sequence[str]) -> tuple[str, ...] | None:
    """The kernels that may be used, None for all."""
    unknown = [name for name in (*(only or ()), *forbid) if name not in KERNELS]
    if unknown:
        raise BadInput(f"there is no kernel {unknown[0]!r}", where="kernels", hint=f"There are: {', '.join(KERNELS)}")
    if only is None and not forbid:
        return None
    return tuple(sorted(set(KERNELS if only is None else only) - set(forbid)))


def lock_text(lock: str | Path | None) -> str | None:
    if lock is None:
        return None
    try:
        text = Path(lock).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {error}", where=str(lock), hint="Write one with: edgesmith tune") from error
    return Lock.from_json(text, str(lock)).to_json()


def compiler_of(recipe: Recipe) -> Compiler:
    return zig() if recipe.compiler == "zig" else system(recipe.compiler)
