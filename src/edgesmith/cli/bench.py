"""``edgesmith bench``: a compiled model against other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from edgesmith.bench.compare import OURS, Comparison, compare
from edgesmith.cli import arguments
from edgesmith.cli.arguments import ArtifactArgument, BindOption, ShapeOption
from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.cli.progress import one_bar
from edgesmith.device import Artifact, load
from edgesmith.device.settings import source
from edgesmith.errors import BadInput
from edgesmith.frontend.normalize import normalize

NONE = "none"


def command(
    artifact: ArtifactArgument,
    against: Annotated[
        list[str] | None, typer.Option(help="A runtime to compare with, or 'none'. [default: onnxruntime]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The ONNX file or zoo:NAME; default: what the artifact was compiled from.")
    ] = None,
    shape: ShapeOption = None,
    bind: BindOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each runs every runtime in turn.")] = 7,
    threads: Annotated[int | None, typer.Option(min=1, help="For all of them; default: as compiled.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a compiled model against ONNX Runtime, in interleaved rounds.

    Everything runs in one process, in turn (A B A B ...), with the same inputs and number of threads, so that a slow
    spell of the machine meets all. Printed are the median, the minimum, the spread (interquartile range over
    median) and the ratio: above 1, the compiled program is faster.

    \b
    Examples:
      edgesmith bench out/
      edgesmith bench out/ --against onnxruntime --rounds 15 --threads 2
      edgesmith bench out/ --model model.onnx --shape x=1,3,224,224
      edgesmith bench out/ --against none --json
    """
    program = load(artifact, threads)
    peers = [p for p in against or ["onnxruntime"] if p != NONE]
    original = _model(program, model, shape, bind) if peers else None
    with one_bar("rounds") as progress:
        found = compare(program, original, peers, rounds=rounds, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        _print(program, found)


def _model(artifact: Artifact, given: str | None, shape: list[str] | None, bind: list[str] | None) -> onnx.ModelProto:
    text = given or source(artifact.path, artifact.manifest)
    if text is None:
        raise BadInput(
            "the model that it was compiled from is not where it was",
            where=str(artifact.path),
            hint="give it: --model model.onnx; or time the program alone: --against none",
        )
    values = arguments.bindings(bind)
    shapes = arguments.shapes(shape) or artifact.manifest["model"].get("shapes")
    loaded = arguments.model(text)
    return normalize(str(loaded) if isinstance(loaded, Path) else loaded, shapes=shapes, bindings=values)


def _print(artifact: Artifact, found: Comparison) -> None:
    shown = table("", "runtime|>median|>min|>spread|>runs|>ratio|>max difference")
    for name, times in found.times.items():
        peer = name != OURS
        shown.add_row(
            name,
            f"{times.median / 1e6:.3f} ms",
            f"{times.least / 1e6:.3f} ms",
            f"{times.spread:.1%}",
            str(len(times.runs)),
            f"{found.ratio(name):.2f}" if peer else "",
            f"{found.differences[name]:.3g}" if peer else "",
        )
    environment = found.environment
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items())
    out = console()
    out.print(shown)
    out.print(
        figures(
            [
                ("program", f"{artifact.name} for {artifact.manifest['target']}"),
                ("machine", f"{environment['processor']}, {environment['cores']} cores, {environment['system']}"),
                ("load", _load(environment)),
                ("threads", str(found.settings["threads"])),
                ("rounds", f"{found.settings['rounds']}, interleaved"),
                ("versions", versions),
            ]
        )
    )


def _load(environment: dict[str, Any]) -> str:
    load, cores = environment["load"], environment["cores"]
    if load is None:
        return "unknown"
    busy = "; other programs are running, so times may mean little" if load > cores / 2 + 0.5 else ""
    return f"{load} on {cores} cores (average of the minute before){busy}"
