"""``edgesmith optimize``: a network compressed stage by stage under a budget."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesmith.atomic import write_file
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.cli.progress import briefly
from edgesmith.errors import BadInput

if TYPE_CHECKING:
    from edgesmith.chain.result import Result
    from edgesmith.chain.run import Chain

EXIT_MISSED, EXIT_INTERRUPTED = 1, 130


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of stages, program and report; by default RECIPE.optimized."),
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Write a starter recipe with comments to RECIPE.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the stages, and which are there already.")] = False,
    train_on: Annotated[
        str, typer.Option("--train-on", help="PyTorch's device for training: cpu, cuda, cuda:1, mps.")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compress a network stage by stage until its program is within a budget of time, size and accuracy.

    The recipe names a network, labelled pictures, a target, a budget and stages: train, distil, prune, factorise,
    finetune, quantise, qat. After each stage the program is compiled, timed on the target, weighed and tried on the
    test pictures. The last one is verified layer by layer against ONNX Runtime.

    Stages are kept by content in the output folder: what is there already is not done again, and a change in the
    recipe repeats only what depends on it. When it is stopped, also with kill -9, the same command goes on, training
    from its last checkpoint.

    Pruning to the budget asks for milliseconds of the program, not for MACs. With \\[compare], a stock smaller network
    of the same family and measured time is trained as long and put beside the outcome.

    \b
    Examples:
      edgesmith optimize --init recipe.toml
      edgesmith optimize recipe.toml --dry-run
      edgesmith optimize recipe.toml
      edgesmith optimize recipe.toml --train-on cuda
      edgesmith optimize recipe.toml -o out/ --json | jq '.rows[] | {title, accuracy, latency_ms}'
      edgesmith bench recipe.optimized/artifact

    Exit status: 0 within the budget; 1 the budget is missed; 2 an error, such as a program that differs from its
    model; 130 interrupted.
    """
    if init:
        _init(recipe)
        return
    from edgesmith.chain.recipe import load
    from edgesmith.chain.report import write
    from edgesmith.chain.result import optimized
    from edgesmith.chain.run import Chain

    loaded = load(recipe, output)
    with briefly() as progress:
        chain = Chain(loaded, progress, error_console().print, device=train_on)
        if dry_run:
            _print_plan(chain, as_json)
            return
        try:
            result = optimized(chain)
        except KeyboardInterrupt:
            where = (f" -o {output}" if output else "") + (f" --train-on {train_on}" if train_on != "cpu" else "")
            error_console().print(f"interrupted; to go on: edgesmith optimize {recipe}{where}", style="yellow")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    files = write(result, loaded.output)
    if as_json:
        print_json({**result.to_json(), "report": [str(f) for f in files]})
    else:
        _print(result, files)
    if not result.met:
        raise typer.Exit(EXIT_MISSED)


def _init(path: Path) -> None:
    if path.exists():
        raise BadInput("exists; it is left alone", where=str(path), hint="name a new file")
    write_file(path, (resources.files("edgesmith.chain") / "starter.toml").read_bytes())
    console().print(f"written: {path}; next: edgesmith optimize {path} --dry-run")


def _print_plan(chain: Chain, as_json: bool) -> None:
    if as_json:
        print_json([{**vars(stage), "folder": str(stage.folder)} for stage in chain.plan()])
        return
    shown = table("", "stage|what|state|folder")
    for stage in chain.plan():
        shown.add_row(stage.title, stage.what, stage.state or "to be done", str(stage.folder))
    console().print(shown)
    if stock := chain.recipe.stock_models:
        epochs = chain.recipe.compare.epochs or sum(s.planned_epochs for s in chain.recipe.stages)
        labels = ", ".join(spec.label for spec in stock)
        console().print(f"beside it, trained for {epochs} epochs: the one of these that takes as long ({labels})")


def _print(result: Result, files: list[Path]) -> None:
    from edgesmith.chain.report import COLUMNS, cells, comparison, timing

    shown = table("", "|".join((COLUMNS[0], *(f">{c}" for c in COLUMNS[1:]))))
    for row in result.rows:
        shown.add_row(*cells(row, result.stages[result.first]))
    out = console()
    out.print(shown)
    rows = [
        ("budget" if i == 0 else "", f"{'met' if v.met else 'MISSED'}: {v.text}") for i, v in enumerate(result.verdicts)
    ]
    if result.stock:
        rows.append(("stock", comparison(result)))
    rows += [("program", str(result.artifact.path)), ("report", ", ".join(map(str, files)))]
    rows.append(("times", timing(result)))
    out.print(figures(rows))
