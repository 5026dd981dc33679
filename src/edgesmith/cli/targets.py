"""``edgesmith targets``: what can be compiled for, and what this machine is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from edgesmith.bench.environment import available_cores, processor
from edgesmith.bench.machine import this_machine
from edgesmith.cli.arguments import refuse_unused
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.report.units import nbytes, rate
from edgesmith.target import ISAS, Machine, parse, profiles


def command(
    context: typer.Context,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's peak rates again (best when it is idle).")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads for --measure.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List devices and instruction sets, and what this machine has.

    A target is 'native' (all that this machine has), 'portable' (plain C99 for this machine), 'native+ISA' (vectors no
    wider than that set), the name of a device, or a triple, alone or with instruction sets: aarch64-linux-gnu,
    aarch64-linux-musl+dotprod, x86_64-linux-gnu+avx2. Programs for musl are static: they run on any Linux.

    \b
    Examples:
      edgesmith targets
      edgesmith targets --measure --threads 2
      edgesmith compile model.onnx --target native+avx2
      edgesmith compile model.onnx --target raspberry-pi-4
    """
    if not measure:
        refuse_unused(context, ["threads"], "where nothing is measured", "add --measure, or omit it")
    native = parse("native")
    machine = None
    if measure:
        with error_console().status("measuring this machine"):
            machine = this_machine(threads, fresh=True)
    sets: list[dict[str, Any]] = [
        {
            "name": isa.name,
            "architecture": isa.arch,
            "vector_bits": isa.vector_bits,
            "registers": isa.registers,
            "implies": list(isa.implies),
            "here": isa.name in native.isas,
        }
        for isa in sorted(ISAS.values(), key=lambda i: (i.arch, i.vector_bits))
    ]
    if as_json:
        devices = [asdict(p) for p in profiles().values()]
        data = {"processor": processor(), "native": str(native), "isas": sets, "devices": devices}
        print_json(data | ({"machine": machine.to_json()} if machine else {}))
        return
    shown = table("", "instruction set|architecture|>vector bits|>registers|contains|this machine")
    for entry in sets:
        shown.add_row(
            entry["name"],
            entry["architecture"],
            str(entry["vector_bits"]),
            str(entry["registers"]),
            ", ".join(entry["implies"]),
            "yes" if entry["here"] else "no",
        )
    out = console()
    out.print(_devices())
    out.print(shown)
    out.print(
        figures(
            [
                ("processor", processor()),
                ("cores", str(available_cores())),
                ("native", str(native)),
                ("data caches", f"{nbytes(native.l1_bytes)} L1, {nbytes(native.l2_bytes)} L2 a core"),
            ]
        )
    )
    if machine:
        _print_machine(machine)


def _devices() -> Table:
    shown = table("", "device|what it is|target|cores|data caches|>flash|>RAM")
    for profile in profiles().values():
        cores = ", ".join(f"{c.cores} x {c.core} {c.gigahertz:g} GHz" for c in profile.clusters)
        fastest = profile.clusters[0]
        caches = ", ".join(nbytes(n) for n in (fastest.l1_bytes, fastest.l2_bytes, fastest.l3_bytes) if n)
        memory = (nbytes(n) if n else "" for n in (profile.flash_bytes, profile.ram_bytes))
        shown.add_row(profile.name, profile.title, str(parse(profile.name)), cores, caches, *memory)
    return shown


def _print_machine(machine: Machine) -> None:
    threads = f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    shown = table(f"peak with {machine.isa} and {threads}: {rate(machine.flops, 'FLOP/s')}", ">working set|>read")
    for size, bandwidth in machine.bandwidths:
        shown.add_row(nbytes(size), rate(bandwidth, "B/s"))
    console().print(shown)
