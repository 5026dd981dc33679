"""``edgesmith tuning``: the database of measured times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.errors import BadInput
from edgesmith.report.units import nbytes
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune import Database, Environment, default_path, environment

KEPT = 8

ACTIONS = ("info", "export", "import", "prune")


def command(
    action: Annotated[str, typer.Argument(metavar="[info|export|import|prune]", help="What to do.")] = "info",
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Of exported records; compressed when it ends in .xz.")
    ] = None,
    best: Annotated[
        int | None,
        typer.Option(min=1, help=f"Only so many of the fastest of each layer. [default: all; prune: {KEPT}]"),
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Only records of this machine, its native target and the bundled compiler.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="info: print JSON.")] = False,
) -> None:
    """Show, export, import or prune the database of measured times.

    A record says what one kernel took for one layer, with which target, compiler and processor. Records serve other
    machines of the same model, so one device of a fleet is tuned for all; importing keeps the better of two records.

    prune keeps the fastest records of each layer, with --here of this machine alone; nothing else is lost by it than
    what the cost models learn from.

    EDGESMITH_TUNING_DB says where the database is.

    \b
    Examples:
      edgesmith tuning
      edgesmith tuning export times.jsonl.xz --best 3
      edgesmith tuning import times.jsonl.xz
      edgesmith tuning prune --best 5
    """
    if action not in ACTIONS:
        raise BadInput(f"cannot {action!r}", where="tuning", hint=f"edgesmith tuning {' | '.join(ACTIONS)}")
    if (file is None) == (action in ("export", "import")):
        needs = "needs a FILE" if file is None else "takes no FILE"
        raise BadInput(f"{action} {needs}", where="tuning", hint="edgesmith tuning --help shows examples")
    chosen = (environment(parse("native"), zig()),) if here else None
    with Database(default_path()) as database:
        if action == "info":
            _info(database, as_json)
        elif action == "export":
            assert file is not None
            count = database.export(file, best, chosen)
            console().print(f"exported {count} records to {file} ({nbytes(file.stat().st_size)})")
        elif action == "import":
            assert file is not None
            count = database.load(file, lambda e: chosen is None or e in chosen)
            console().print(f"imported {count} records from {file}")
        else:
            count = database.prune(best or KEPT, chosen)
            console().print(f"removed {count} records; {nbytes(default_path().stat().st_size)} are left")


def _info(database: Database, as_json: bool) -> None:
    mine = environment(parse("native"), zig())
    found = database.environments()
    if as_json:
        rows = [
            {"processor": str(e.processor), "target": e.target, "compiler": e.compiler, "layers": p, "records": n}
            for e, p, n in found
        ]
        print_json({"database": str(default_path()), "environments": rows})
        return
    out = console()
    shown = table("", "|processor|target|compiler|>layers|>records")
    for e, problems, count in found:
        shown.add_row(_relation(e, mine), str(e.processor), e.target, e.compiler, str(problems), str(count))
    if found:
        out.print(shown)
    else:
        out.print("no records; edgesmith tune MODEL makes some")
    size = nbytes(default_path().stat().st_size)
    out.print(figures([("database", f"{default_path()} ({size})")]))


def _relation(found: Environment, mine: Environment) -> str:
    return "here" if found == mine else "similar" if mine.resembles(found) else ""
