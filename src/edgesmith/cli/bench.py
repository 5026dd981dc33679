"""``edgesmith bench``: compiled models against other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from edgesmith.api import BUDGET_SECONDS, TUNING
from edgesmith.bench.compare import Comparison, Contest
from edgesmith.bench.environment import environment
from edgesmith.bench.installed import install
from edgesmith.bench.peers import OURS, select
from edgesmith.cli import arguments
from edgesmith.cli.arguments import BindOption, ShapeOption
from edgesmith.cli.bench_suite import run_suite
from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.cli.progress import activity
from edgesmith.device import Artifact, load
from edgesmith.device.settings import source
from edgesmith.errors import BadInput
from edgesmith.frontend.normalize import normalize
from edgesmith.oldest_opset import in_oldest_opset

ROUNDS = 7


def command(
    context: typer.Context,
    artifact: Annotated[
        Path | None, typer.Argument(metavar="[ARTIFACT]", help="The folder that 'edgesmith compile' made.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Runtimes to compare with: names, 'all' or 'none'. [default: onnxruntime]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The ONNX file or zoo:NAME; default: what the artifact was compiled from.")
    ] = None,
    shape: ShapeOption = None,
    bind: BindOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each runs every runtime in turn.")] = ROUNDS,
    threads: Annotated[
        str | None, typer.Option(help="For all of them; default: as compiled. For suites also several: 1,2.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Instead of an artifact, a suite of networks: edge or tiny.")
    ] = None,
    networks: Annotated[list[str] | None, typer.Option(help="Only these networks of the suite.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Data of the suite (.json); tables and pictures go beside it.")
    ] = None,
    tune: Annotated[str, typer.Option(help=f"How the suite's networks are compiled: {', '.join(TUNING)}.")] = "cached",
    budget: Annotated[
        float, typer.Option(min=1, help="With --tune full: most seconds for measuring one network.")
    ] = BUDGET_SECONDS,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure the suite's networks again that the file has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a compiled model, or a suite of networks, against other runtimes in interleaved rounds.

    Every runtime runs in a process and a virtual environment of its own, which is made when it is first needed. They
    take turns (A B A B ...) with the same inputs and number of threads, so that a slow spell of the machine meets all.
    Printed are the median, the minimum, the spread (interquartile range over median), the ratio (above 1, the
    compiled program is faster) and the error against double precision: a runtime that computes in reduced precision
    does not count. Each runs with its best settings, which are printed.

    A suite compiles its networks, measures them one by one, and writes its file after each: an interrupted run goes
    on where it ended when the same command is given again. Tables and pictures are made from the file.

    \b
    Examples:
      edgesmith bench out/
      edgesmith bench out/ --against onnxruntime,openvino,ncnn --rounds 15 --threads 2
      edgesmith bench out/ --model model.onnx --shape x=1,3,224,224
      edgesmith bench out/ --against none --json
      edgesmith bench --suite edge --against all --threads 1,2 -o edge.json
      edgesmith bench --suite edge --networks resnet-18,vgg-16 -o part.json
    """
    if (artifact is None) == (suite is None):
        raise BadInput(
            "needs either an artifact or a suite", where="bench", hint="edgesmith bench out/, or --suite edge"
        )
    if suite is None:
        arguments.refuse_unused(context, ("networks", "output", "tune", "budget", "fresh"), "without --suite")
    else:
        arguments.refuse_unused(context, ("model", "shape", "bind", "as_json"), "with --suite")
    if suite is not None and tune != "full":
        arguments.refuse_unused(context, ["budget"], "where nothing is measured", "add --tune full, or omit it")
    peers = select(against or ["onnxruntime"])
    if suite is not None:
        numbers = arguments.positive_numbers("--threads", threads) or (1,)
        run_suite(
            suite, networks or [], peers, numbers, rounds, output or Path(f"{suite}.json"), tune, budget, fresh=fresh
        )
        return
    assert artifact is not None
    chosen = arguments.positive_numbers("--threads", threads)
    if len(chosen) > 1:
        raise BadInput("one number of threads for one artifact", where="--threads", hint="several are for --suite")
    program = load(artifact, chosen[0] if chosen else None)
    program.check_machine()
    with activity() as bars:
        installed = install(peers, bars.say)
        original = _model(program, model, shape, bind) if installed.peers else None
        with Contest(original, installed, bars.say) as contest:
            found = contest.compare(program, rounds, lambda done, total: bars.pieces("rounds", done, total))
    about = environment()
    if as_json:
        print_json({**found.to_json(), "rounds": rounds, "environment": about})
    else:
        _print(program, found, rounds, about)


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
    clean = normalize(str(loaded) if isinstance(loaded, Path) else loaded, shapes=shapes, bindings=values)
    return in_oldest_opset(clean)


def _print(artifact: Artifact, found: Comparison, rounds: int, about: dict[str, Any]) -> None:
    shown = table("", "runtime|>median|>min|>spread|>runs|>ratio|>error|remark")
    for name, measured in found.measured.items():
        times = measured.times
        shown.add_row(
            name,
            f"{times.median / 1e6:.3f} ms",
            f"{times.least / 1e6:.3f} ms",
            f"{times.spread:.1%}",
            str(len(times.runs)),
            "" if name == OURS.name else f"{found.ratio(name):.2f}",
            f"{measured.error:.1e}",
            _remark(found, name),
        )
    for name in found.absent:
        shown.add_row(name, "absent", "", "", "", "", "", "see below")
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    settings = [
        (name, ", ".join(f"{key} {value}" for key, value in measured.settings.items()))
        for name, measured in found.measured.items()
    ]
    out = console()
    out.print(shown)
    out.print(
        figures(
            [
                ("program", f"{artifact.name} for {artifact.manifest['target']}"),
                ("machine", f"{about['processor']}, {about['cores']} cores, {about['system']}"),
                ("load", _load(about)),
                ("threads", str(found.threads)),
                ("rounds", f"{rounds}, interleaved"),
                ("versions", versions),
                *settings,
                *found.absent.items(),
            ]
        )
    )


def _remark(found: Comparison, name: str) -> str:
    remarks = [
        *(["fastest peer"] if name == found.best else []),
        *([f"reduced precision: error above {found.error_limit:.1e}, does not count"] if found.reduced(name) else []),
        *(["busy while others were timed"] if name in found.disturbing else []),
    ]
    return "; ".join(remarks)


def _load(about: dict[str, Any]) -> str:
    load, cores = about["load"], about["cores"]
    if load is None:
        return "unknown"
    busy = "; other programs are running, so times may mean little" if load > cores / 2 + 0.5 else ""
    return f"{load} on {cores} cores (average of the minute before){busy}"
