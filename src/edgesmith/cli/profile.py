"""``edgesmith profile``: measured time, or executed instructions, of each step."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesmith.bench.machine import this_machine
from edgesmith.bench.profile import Profile
from edgesmith.bench.profile import profile as measure
from edgesmith.cli.arguments import ArtifactArgument, refuse_unused
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.cli.counting import core_named, print_counts
from edgesmith.cli.devices import OnOption, attached, require_real
from edgesmith.cli.progress import one_bar
from edgesmith.counting import count_steps
from edgesmith.device import Artifact, load
from edgesmith.report.units import count, duration, rate


def command(
    context: typer.Context,
    artifact: ArtifactArgument,
    repetitions: Annotated[int, typer.Option("-n", "--repetitions", min=3, help="Times each step is measured.")] = 30,
    in_order: Annotated[bool, typer.Option("--in-order", help="In the program's order, not slowest first.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Print this many steps; 0: all.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: as compiled.")] = None,
    counted: Annotated[
        bool,
        typer.Option("--count", help="Count executed instructions in an emulator; for programs of other processors."),
    ] = False,
    core: Annotated[
        str,
        typer.Option(metavar="NAME", help="Count, and give the cycles of this core by llvm-mca: cortex-a72, ..."),
    ] = "",
    on: OnOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure each step of a compiled model, next to the limit of this machine.

    The program is run step by step and as a whole, in turn; medians are printed. 'of roofline' is the least time that
    the machine allows for the step's operations and bytes, over the measured time: 100 % cannot be beaten. The
    machine's peak is measured once and kept; 'edgesmith targets --measure' measures it again.

    With --on, the steps are timed on a device, by its own clock; its peak is not known, so there is no roofline.

    With --count, QEMU runs the program once on one thread and a plugin counts the instructions of each step. They are
    the same every time, on any machine; they are not time. Programs of microcontrollers run on QEMU's boards, those of
    WebAssembly in wasmtime, whose fuel counts instructions of WebAssembly. With --core, llvm-mca (LLVM 22) says what a
    core takes for them when everything lies in its first-level cache; 'of peak' is the share of its peak in
    multiply-adds of floats.

    \b
    Examples:
      edgesmith profile out/
      edgesmith profile out/ --in-order --limit 20
      edgesmith profile out/ --on ssh://pi@raspberrypi
      edgesmith profile out/ --count --limit 10
      edgesmith profile out/ --core cortex-a72
      edgesmith profile out/ --json | jq '.steps[] | {name, time_ns, roofline_share}'
    """
    if as_json:
        refuse_unused(context, ("in_order", "limit"), "with --json, which has all steps in the program's order")
    if counted or core:
        why = f"with {'--core' if core else '--count'}, which runs the program once, on one thread, in QEMU"
        refuse_unused(context, ("repetitions", "threads", "on"), why)
    program = load(artifact, threads)
    if counted or core:
        given = core_named(core, program.target.arch) if core else None
        with error_console().status("counting"):
            inference = count_steps(program)
        print_counts(inference, given, in_order=in_order, limit=limit, as_json=as_json)
        return
    program, found = _on_device(program, on, repetitions) if on else (program, _here(program, repetitions))
    if as_json:
        print_json({**found.to_json(), "device": on or None, "variant": program.variant})
    else:
        if program.variant:
            console().print(f"variant {program.variant} of {', '.join(program.variants)} (EDGESMITH_ISA names another)")
        _print(found, in_order, limit)


def _here(program: Artifact, repetitions: int) -> Profile:
    with error_console().status("measuring this machine"):
        machine = this_machine(program.threads)
    with one_bar("profile") as progress:
        return measure(program, machine, repetitions, progress)


def _on_device(program: Artifact, address: str, repetitions: int) -> tuple[Artifact, Profile]:
    with attached(address, program) as (device, running):
        assert device
        require_real(device, "--count counts instructions under QEMU; take times with --on ssh://user@host")
        with device.open(running, running.threads) as instance, one_bar("profile") as progress:
            return running, measure(running, None, repetitions, progress, instance)


def _print(found: Profile, in_order: bool, limit: int) -> None:
    steps = found.steps if in_order else sorted(found.steps, key=lambda s: -s.time_ns)
    shown = table("", ">step|layer|operators|kernel|>time|>share|>GFLOP/s|>of roofline|bound")
    for step in steps[: limit or None]:
        shown.add_row(
            str(step.index),
            step.name,
            step.operators,
            step.kernel,
            duration(step.time_ns),
            f"{step.time_ns / found.sum_ns:.1%}",
            f"{step.flops_per_second / 1e9:.1f}" if step.macs else "",
            "" if step.roofline_share is None else f"{step.roofline_share:.0%}",
            step.bound or "",
        )
    macs = sum(s.macs for s in found.steps)
    rows = [
        ("whole run", f"{duration(found.total_ns)} (median of {found.repetitions})"),
        ("sum of the steps", duration(found.sum_ns)),
        ("MACs", f"{count(macs)}, {rate(2 * macs / found.total_ns * 1e9, 'FLOP/s')}"),
    ]
    if machine := found.machine:
        best = sum(s.limit_ns or 0.0 for s in found.steps)
        threads = f"{machine.threads} thread{'s' * (machine.threads > 1)}"
        peak = f"{rate(machine.flops, 'FLOP/s')}, {rate(machine.bandwidths[-1][1], 'B/s')} from memory"
        rows.append(("roofline limit", f"{duration(best)}, {best / found.total_ns:.0%} of the measured time"))
        rows.append(("machine", f"{machine.name}, {machine.isa}, {threads}: {peak}"))
    out = console()
    out.print(shown)
    out.print(figures(rows))
