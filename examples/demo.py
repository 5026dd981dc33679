"""What Edgesmith does, in two minutes: a small trained network on real data, and a full-size one against the clock.

Usage::

    python examples/demo.py
"""

from __future__ import annotations

import time

from digits import demo as digits
from rich.console import Console
from rich.table import Table

import edgesmith
from edgesmith import zoo
from edgesmith.bench.compare import Comparison, Contest
from edgesmith.bench.environment import environment
from edgesmith.bench.installed import install
from edgesmith.bench.peers import OURS, select
from edgesmith.cli.progress import one_bar, stages
from edgesmith.frontend.normalize import normalize
from edgesmith.report.units import count, nbytes

NETWORK = "mobilenet-v2"
PEER = "onnxruntime"
BAR = 24
NOISE = 0.25
"""Spread of the times above which medians say little."""


def chart(found: Comparison) -> Table:
    """Median times as bars."""
    table = Table(box=None, pad_edge=False, show_header=False)
    every = {name: measured.times for name, measured in found.measured.items()}
    longest = max(t.median for t in every.values())
    for name, times in every.items():
        bar = "█" * max(round(BAR * times.median / longest), 1)
        colour = "green" if name == OURS.name else "yellow"
        table.add_row(
            name,
            f"[{colour}]{bar}[/{colour}]",
            f"[bold]{times.median / 1e6:.2f} ms[/bold]",
            f"min {times.least / 1e6:.2f}, spread {times.spread:.1%}",
        )
    return table


def mobilenet(console: Console) -> None:
    """Compile the network with seeded weights and time it against ONNX Runtime, one thread each."""
    network = zoo.describe(NETWORK)
    console.rule("[bold]MobileNetV2[/bold]")
    console.print(
        f"Full size, {network.image_size}x{network.image_size}, float32, seeded weights ({network.reference}).\n",
        highlight=False,
    )
    start = time.perf_counter()
    model = zoo.build(NETWORK)
    with stages() as progress:
        artifact = edgesmith.compile(model, output=digits.OUTPUT / NETWORK, progress=progress)
    seconds = time.perf_counter() - start
    with one_bar("timing") as rounds, Contest(normalize(model), install(select([PEER]), _silent), _silent) as contest:
        found = contest.compare(artifact, progress=rounds)
    console.print(chart(found))
    memory = artifact.manifest["memory"]
    macs = sum(step["macs"] for step in artifact.manifest["steps"])
    ratio, theirs = found.ratio(PEER), found.measured[PEER]
    verdict = (
        f"{ratio:.2f} times as fast as ONNX Runtime"
        if ratio >= 1
        else f"{1 / ratio:.2f} times the time of ONNX Runtime"
    )
    rows = (
        ("result", f"{verdict}; interleaved rounds, one thread, {environment()['processor']}"),
        ("error against float64", f"{found.ours.error:.1e} of the largest output (ONNX Runtime {theirs.error:.1e})"),
        ("program", f"{len(artifact.manifest['steps'])} steps, {count(macs)} MACs, for {artifact.manifest['target']}"),
        (
            "memory",
            f"{nbytes(memory['arena_bytes'])} arena (lower bound {nbytes(memory['arena_lower_bound_bytes'])}), "
            f"{nbytes(memory['weights_bytes'])} weights",
        ),
        ("compiled and verified", f"in {seconds:.1f} s"),
        ("artifact", str(artifact.path)),
    )
    for what, value in rows:
        console.print(f"  [cyan]{what:26}[/cyan]{value}", highlight=False, soft_wrap=True)
    if max(measured.times.spread for measured in found.measured.values()) > NOISE:
        least = theirs.times.least / found.ours.times.least
        console.print(
            f"  [yellow]The machine was busy and medians say little; the shortest times give {least:.2f}.[/yellow]",
            highlight=False,
        )


def _silent(text: str) -> None:
    pass


def main() -> None:
    start = time.perf_counter()
    console = Console()
    digits.main()
    console.print()
    mobilenet(console)
    console.print(f"\nAll of it took {time.perf_counter() - start:.0f} s. Next: edgesmith --help", highlight=False)


if __name__ == "__main__":
    main()
