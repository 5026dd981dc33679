"""The command ``edgesmith``: its commands are imported when they are called, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
import inspect
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from edgesmith.cli.console import error_console
from edgesmith.errors import EdgesmithError, next_step
from edgesmith.version import __version__

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "compile": "Turn a model into a native program and prove that it computes the same.",
    "quantize": "Quantise a model to 8-bit integers, from typical inputs.",
    "tune": "Measure kernels for the layers of a model, and keep the fastest.",
    "optimize": "Compress a network stage by stage under a budget of time, size and accuracy.",
    "run": "Run a compiled model on pictures or arrays.",
    "verify": "Compare a compiled model with ONNX Runtime, output by output and layer by layer.",
    "pack": "Package an artifact: a Python wheel, sources, one header, an Android archive.",
    "deploy": "Install an artifact on a device, and try and time it there.",
    "keys": "Make a pair of keys to sign artifacts with.",
    "sign": "Sign an artifact.",
    "delta": "Write the difference between two artifacts to a file.",
    "patch": "Make the next artifact from the last one and a delta.",
    "inspect": "Show a model's layers: shapes, MACs, parameters, traffic, roofline bound.",
    "profile": "Measure each step of a compiled model, next to the limit of this machine.",
    "why": "Show which kernels were considered for each layer, and why one was chosen.",
    "bench": "Time a compiled model, or a suite of networks, against other runtimes.",
    "zoo": "List the built-in networks, or write one as an ONNX file.",
    "targets": "List devices and instruction sets, and what this machine has.",
    "doctor": "Check that everything Edgesmith needs works here.",
    "tuning": "Show, export, import or prune the database of measured times.",
    "cache": "Show or clear the cache.",
}
"""Name of each command, which is also the module that holds it, and its one-line help."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class _Commands(TyperGroup):
    """A group whose members are modules of this package with a function ``command``."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stub with the one-line help, which is all that listings need."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.commands = {name: self.get_command(ctx, name) for name in COMMANDS}
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub and _load(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            error_console().print("interrupted", style="red")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (EdgesmithError, OSError) as error:
            if isinstance(error, BrokenPipeError) or ctx.params.get("debug"):
                raise
            _show(error)
            raise typer.Exit(EXIT_ERROR) from None


def _load(name: str) -> Any:
    module = importlib.import_module(f"edgesmith.cli.{name}")
    holder = typer.Typer(add_completion=False, rich_markup_mode="rich")
    holder.command(name, help=_flowing(module.command.__doc__))(module.command)
    return typer.main.get_command(holder)


def _flowing(text: str) -> str:
    """A docstring whose paragraphs flow; those that start with ``\\b`` keep their lines."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith("\b") else p.replace("\n", " ") for p in paragraphs)


def _show(error: EdgesmithError | OSError) -> None:
    if isinstance(error, OSError) and not isinstance(error, EdgesmithError):
        error = EdgesmithError(error.strerror or str(error), where=str(error.filename or ""), hint=next_step(error))
    assert isinstance(error, EdgesmithError)
    where = f"{error.where}: " if error.where else ""
    text = Text.assemble(("error: ", "bold red"), (where, "bold"), error.why.strip())
    if error.hint:
        text.append(f"\n  hint: {error.hint}", style="dim")
    error_console().print(text)


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgesmith {__version__}")
        raise typer.Exit


@app.callback(
    epilog=escape("Start with: edgesmith compile zoo:mobilenet-v2 -o out/ && edgesmith bench out/")
    + "\n\n'edgesmith COMMAND --help' explains a command with examples."
)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")] = False,
) -> None:
    """Edgesmith turns trained networks into small, fast, verified native programs.

    A MODEL is an ONNX file, or zoo:NAME for a built-in network (see 'edgesmith zoo').

    What 'compile' makes of it is a folder, the ARTIFACT, which other commands take.
    """


def main() -> None:
    """Entry point of the console script.

    Exit status: 0 success; 1 a verification or self-check failed; 2 an error in the input or the use; 130 interrupted.
    """
    app()
