"""``edgesmith tune``: the fastest kernels of a model, by measuring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from edgesmith import api
from edgesmith.cli import arguments, choosing
from edgesmith.cli.arguments import BindOption, ModelArgument, ShapeOption
from edgesmith.cli.choosing import BudgetOption, ForbidOption, OnlyOption
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.errors import BadInput
from edgesmith.report.units import duration
from edgesmith.tune import Progress as Report
from edgesmith.tune import Status, Tuned, default_path

SHOWN = 10
BASES = ("times", "cycles")


def command(
    model: ModelArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Lock file. [default: NAME.lock.json]")] = None,
    budget: BudgetOption = "5m",
    shape: ShapeOption = None,
    bind: BindOption = None,
    target: Annotated[
        str, typer.Option(help="As for 'edgesmith compile'; this machine must run it, or --on, or --by cycles.")
    ] = "native",
    by: Annotated[
        str,
        typer.Option(help="times: measured here; cycles: of a model of the target's core."),
    ] = "times",
    on: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Measure on a device: ssh://user@host or adb://serial (with :port and /folder where needed).",
            show_default=False,
        ),
    ] = "",
    compiler: Annotated[str, typer.Option(help="zig (bundled) or a command such as gcc.")] = "zig",
    only: OnlyOption = None,
    forbid: ForbidOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure kernels for the layers of a model on this machine or a device, and keep the fastest ones.

    Two things come out: records in the tuning database, by which 'edgesmith compile' chooses from then on, and a lock
    file with the choices for this model, by which a build can be repeated anywhere, byte for byte.

    With --on, kernels are compiled here, sent in batches, and timed on a device; the records are of its processor. A
    lost connection is waited for, also while the device starts anew. A kernel that crashes or hangs there is left out.
    Nothing stays on the device.

    With --by cycles, QEMU runs the kernels of a target that this machine cannot run, and llvm-mca (LLVM 22) says what
    its core takes for what they execute and for the lines that its caches lack. The records are kept apart: they count
    only where nothing was measured on such a device.

    Ctrl-C ends the search early and keeps what was found. Whatever ends it, the next one goes on from there.

    \b
    Examples:
      edgesmith tune zoo:mobilenet-v2 --budget 5m
      edgesmith tune model.onnx -o model.lock.json --forbid winograd
      edgesmith compile model.onnx --lock model.lock.json
      edgesmith tune zoo:mobilenet-v2 --target raspberry-pi-4 --on ssh://pi@raspberrypi
      edgesmith tune zoo:mobilenet-v2 --target raspberry-pi-4 --by cycles --budget 20m
    """
    if by not in BASES:
        raise BadInput(f"no such basis: {by!r}", where="--by", hint=f"one of {', '.join(BASES)}")
    if on and by != "times":
        raise BadInput("cycles are those of a model, not of a device", where="--on", hint="omit --by, or --on")
    place = output or Path(f"{Path(model.removeprefix(arguments.ZOO)).stem}.lock.json")
    part = place.with_name(f"{place.name}.part")
    limit = choosing.seconds(budget)
    part.parent.mkdir(parents=True, exist_ok=True)
    with _bar(limit) as report:
        tuned = api.tune(
            arguments.model(model),
            target=target,
            shapes=arguments.shapes(shape),
            bindings=arguments.bindings(bind),
            budget_seconds=limit,
            compiler=compiler,
            only=only,
            forbid=forbid or (),
            modelled=by == "cycles",
            on=on,
            progress=report,
        )
    part.write_text(tuned.plan.lock.to_json())
    part.replace(place)
    if as_json:
        print_json(_data(tuned, place))
    else:
        _summary(tuned, place)


@contextmanager
def _bar(budget_seconds: float) -> Iterator[Report]:
    """A bar for the budget, with the best time of the whole network so far and the time that is left."""
    screen = error_console()
    bars = Progress(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("tune"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[best]}"),
        console=screen,
        disable=not screen.is_terminal,
    )
    task = bars.add_task("", total=budget_seconds, left="", best="planning")

    def report(status: Status) -> None:
        left = max(budget_seconds - status.seconds, 0.0)
        bars.update(
            task,
            completed=min(status.seconds, budget_seconds),
            left=f"{int(left // 60)}:{int(left % 60):02} left",
            best=_best(status),
        )

    with bars:
        yield report


def _best(status: Status) -> str:
    if status.waiting:
        return escape(status.waiting)
    if status.best_ns is None:
        return f"{status.measured} kernels measured"
    first = "" if status.first_ns is None else f", predicted choice {duration(status.first_ns)}"
    return f"best {duration(status.best_ns)}{first}, {status.measured} kernels measured"


def _data(tuned: Tuned, lock: Path) -> dict[str, Any]:
    return {
        "lock": str(lock),
        "database": str(default_path()),
        "seconds": tuned.status.seconds,
        "finished": tuned.finished,
        "measured": tuned.status.measured,
        "best_ns": sum(tuned.plan_ns.values()),
        "first_ns": sum(tuned.first_ns.values()),
        "refused": list(tuned.refused),
        "steps": [
            {
                "name": s.name,
                "nodes": [n.name for n in s.region.nodes],
                "kernel": s.kernel.name,
                "schedule": dict(s.schedule),
                "time_ns": tuned.plan_ns[s.name],
            }
            for s in tuned.plan.steps
        ],
    }


def _summary(tuned: Tuned, lock: Path) -> None:
    out = console()
    best, first = sum(tuned.plan_ns.values()), sum(tuned.first_ns.values())
    slowest = sorted(tuned.plan.steps, key=lambda s: -tuned.plan_ns[s.name])[:SHOWN]
    steps = table(f"the {len(slowest)} longest of {len(tuned.plan.steps)} steps", "layer|operators|kernel|>time|>share")
    for step in slowest:
        schedule = " ".join(f"{k}={v}" for k, v in step.schedule.items())
        time = tuned.plan_ns[step.name]
        kernel = f"{step.kernel.name} {schedule}".rstrip()
        steps.add_row(step.name, step.region.label, kernel, duration(time), f"{time / best:.0%}")
    out.print(steps)
    kernels = Counter(s.kernel.name for s in tuned.plan.steps)
    ended = "nothing was left to gain" if tuned.finished else "the budget was spent, or it was interrupted"
    rows = [
        ("network", f"{duration(best)}: the sum of its steps, one thread"),
        ("before", f"{duration(first)} as predicted times would choose ({first / best:.2f} times as long)"),
        ("kernels", ", ".join(f"{kernel} {n}" for kernel, n in kernels.most_common())),
        ("measured", f"{tuned.status.measured} kernels in {tuned.status.seconds:.0f} s; {ended}"),
        ("refused", f"{len(tuned.refused)}, such as {tuned.refused[0]}") if tuned.refused else ("", ""),
        ("database", str(default_path())),
        ("lock", f"{lock} (edgesmith compile MODEL --lock {lock})"),
    ]
    out.print(figures([row for row in rows if row[0]]))
