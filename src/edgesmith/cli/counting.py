"""Printing what a program executes."""

from __future__ import annotations

from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.counting import Inference
from edgesmith.report.units import count

__all__ = ["print_counts"]


def print_counts(found: Inference, *, in_order: bool, limit: int, as_json: bool) -> None:
    """The steps with their executed instructions, most first."""
    executed = [found.step_instructions(i) for i in range(len(found.steps))]
    if as_json:
        steps = [
            {**{k: step[k] for k in ("name", "operators", "kernel", "schedule", "macs")}, "instructions": n}
            for step, n in zip(found.steps, executed, strict=True)
        ]
        print_json({"instructions": found.instructions, "emulator": found.emulator, "steps": steps})
        return
    order = sorted(range(len(executed)), key=lambda i: i if in_order else -executed[i])
    shown = table("", ">step|layer|operators|kernel|>instructions|>share|>MACs|>instructions per MAC")
    for i in order[: limit or None]:
        step, macs = found.steps[i], found.steps[i]["macs"]
        shown.add_row(
            str(i),
            step["name"],
            step["operators"],
            step["kernel"],
            f"{executed[i]:,}",
            f"{executed[i] / found.instructions:.1%}",
            count(macs) if macs else "",
            f"{executed[i] / macs:.3f}" if macs else "",
        )
    out = console()
    out.print(shown)
    out.print(
        figures(
            [
                ("one inference", f"{found.instructions:,} instructions"),
                ("sum of the steps", f"{sum(executed):,}, with the calls that start them one by one"),
                ("counted under", f"{found.emulator}; instructions, not time"),
            ]
        )
    )
