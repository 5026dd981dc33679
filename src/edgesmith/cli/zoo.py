"""``edgesmith zoo``: the built-in networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith import zoo
from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.report.units import count, nbytes

__all__ = ["command", "print_networks"]


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A network; without one, all are listed.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it to this ONNX file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the weights.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images per run.")] = 1,
    image_size: Annotated[int | None, typer.Option("--size", min=1, help="Height and width in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of classes.")] = None,
    width: Annotated[float, typer.Option(help="Width multiplier, one of the published ones.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the built-in networks, or write one as an ONNX file.

    The weights are seeded random numbers, scaled so that activations stay in range as after training: right for
    measuring time and memory, useless for recognising anything.

    \b
    Examples:
      edgesmith zoo
      edgesmith zoo mobilenet-v2
      edgesmith zoo mobilenet-v2 -o mobilenet-v2.onnx --width 0.5 --size 160
    """
    if name is None:
        print_networks(as_json)
        return
    network = zoo.describe(name)
    if output is None:
        _show(network, as_json)
        return
    zoo.save(name, output, seed=seed, batch=batch, image_size=image_size, classes=classes, width=width)
    console().print(f"written: {output} ({nbytes(output.stat().st_size)})")


def _entry(network: zoo.Network) -> dict[str, object]:
    return {
        "name": network.name,
        "image_size": network.image_size,
        "columns": network.size()[1],
        "classes": network.classes,
        "widths": list(network.widths),
        "multipliers": list(network.multipliers),
        "published_macs": network.published.macs,
        "published_parameters": network.published.parameters,
        "source": network.published.source,
        "reference": network.reference,
    }


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def print_networks(as_json: bool) -> None:
    """All networks with their published figures."""
    networks = [zoo.describe(name) for name in zoo.names()]
    if as_json:
        print_json([_entry(n) for n in networks])
        return
    shown = table("", "network|>image|>published MACs|>parameters|source")
    for n in networks:
        macs, parameters = (count(x) if x else "" for x in (n.published.macs, n.published.parameters))
        shown.add_row(n.name, _by(n.size()), macs, parameters, n.published.source)
    console().print(shown)


def _show(network: zoo.Network, as_json: bool) -> None:
    if as_json:
        print_json(_entry(network))
        return
    published = network.published
    console().print(
        figures(
            [
                ("network", network.name),
                ("paper", network.reference),
                ("image", _by((network.channels, *network.size()))),
                ("classes", str(network.classes)),
                ("widths", ", ".join(map(str, network.widths))),
                ("multipliers", ", ".join(network.multipliers) or "none"),
                ("published MACs", count(published.macs) if published.macs else "not given"),
                ("published parameters", count(published.parameters) if published.parameters else "not given"),
                ("figures from", published.source),
                ("write it", f"edgesmith zoo {network.name} -o {network.name}.onnx"),
                ("use it", f"edgesmith compile zoo:{network.name}"),
            ]
        )
    )
