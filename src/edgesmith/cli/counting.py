"""Printing what a program executes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.counting import Inference, StepCounts
from edgesmith.counting.mca import each_cycles, tool
from edgesmith.errors import BadInput
from edgesmith.report.units import count
from edgesmith.target import Core, cores

__all__ = ["core_named", "print_counts"]

LANES = 4


ARM = ("aarch64", "arm")
"""Architectures of the cores of which models are known."""


def core_named(name: str, arch: str) -> Core:
    """A core of which a processor model is known, for code of an architecture.

    Raises:
        BadInput: there is none.
        MissingDependency: ``llvm-mca`` is not installed.
    """
    core = cores().get(name)
    if core is None or not core.model:
        known = ", ".join(c.name for c in cores().values() if c.model)
        raise BadInput(f"no processor model is known of {name!r}", where="--core", hint=f"one of {known}")
    if arch not in ARM:
        raise BadInput(
            f"{core.title} runs no code for {arch}", where="--core", hint="--count alone counts instructions"
        )
    tool()
    return core


def print_counts(
    found: Inference | StepCounts, core: Core | None, *, in_order: bool, limit: int, as_json: bool
) -> None:
    """The steps with their executed instructions, most first; with a core, their cycles there, most first."""
    executed = [found.step_instructions(i) for i in range(len(found.steps))]
    taken = _cycles(found, core) if core and isinstance(found, Inference) else None
    if as_json:
        steps = [
            {
                **{k: step[k] for k in ("name", "operators", "kernel", "schedule", "macs")},
                "instructions": n,
                **({"cycles": taken[1][i]} if taken else {}),
            }
            for i, (step, n) in enumerate(zip(found.steps, executed, strict=True))
        ]
        whole = {"instructions": found.instructions, **({"cycles": taken[0]} if taken else {})}
        print_json({**whole, "core": core and core.name, "emulator": found.emulator, "steps": steps})
        return
    weight: Sequence[float] = taken[1] if taken else executed
    order = sorted(range(len(executed)), key=lambda i: i if in_order else -weight[i])
    out = console()
    out.print(_steps(found, order[: limit or None], executed, taken and taken[1], core))
    rows = [
        ("one inference", f"{found.instructions:,} {found.unit}"),
        ("sum of the steps", f"{sum(executed):,}, with the calls that start them one by one"),
        ("counted under", f"{found.emulator}; instructions, not time"),
    ]
    if core and taken:
        text = f"{count(taken[0])} on {core.title} by llvm-mca ({core.model}), everything in the first-level cache"
        rows.insert(1, ("cycles", text))
    out.print(figures(rows))


def _cycles(found: Inference, core: Core) -> tuple[float, list[float]]:
    """Of a whole run, and of each step."""
    steps = [found.step_blocks(i) for i in range(len(found.steps))]
    whole, *each = each_cycles([found.blocks, *steps], found.arch, core.model)
    return whole.total, [c.total for c in each]


def _steps(
    found: Inference | StepCounts,
    order: Sequence[int],
    executed: Sequence[int],
    taken: Sequence[float] | None,
    core: Core | None,
) -> Table:
    title = "|>cycles|>of peak" if taken else ""
    shown = table("", f">step|layer|operators|kernel|>instructions|>share|>MACs|>instructions per MAC{title}")
    for i in order:
        step, macs = found.steps[i], found.steps[i]["macs"]
        row = [
            str(i),
            step["name"],
            step["operators"],
            step["kernel"],
            f"{executed[i]:,}",
            f"{executed[i] / found.instructions:.1%}",
            count(macs) if macs else "",
            f"{executed[i] / macs:.3f}" if macs else "",
        ]
        if taken and core:
            share = macs / LANES / core.fma_per_cycle / taken[i]
            row += [f"{taken[i]:,.0f}", f"{share:.0%}" if macs else ""]
        shown.add_row(*row)
    return shown
