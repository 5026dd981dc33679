"""``edgesmith pack``: what users take home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.arguments import ArtifactArgument
from edgesmith.cli.console import console, figures
from edgesmith.cli.packing import emitted
from edgesmith.device import load
from edgesmith.errors import BadInput
from edgesmith.packaging import FORMS, pack
from edgesmith.report.units import nbytes


def command(
    artifact: ArtifactArgument,
    emit: Annotated[
        list[str], typer.Option("--emit", metavar="FORM[,FORM...]", help=f"{', '.join(FORMS)}.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the packages.")] = Path("dist"),
    package_version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Version of the packages; default: that of the artifact.", show_default=False
        ),
    ] = None,
) -> None:
    """Package an artifact for those who use it.

    \b
    wheel        a Python package: the library behind a class that takes numpy arrays
    source       C sources for GCC and Clang, built by one command or CMake
    header-only  one header with the weights in it
    android      an archive (AAR) for Gradle, with the library for native code

    The same artifact and version give the same bytes. Packages made by 'edgesmith compile --emit' lie in the artifact.

    \b
    Examples:
      edgesmith pack out/ --emit wheel -o dist/
      edgesmith pack out/ --emit source,header-only --package-version 1.2.0
      pip install dist/*.whl
    """
    if output.exists() and not output.is_dir():
        raise BadInput("is no folder", where=str(output), hint="choose another one with -o")
    if output.resolve().is_relative_to(artifact.resolve()):
        raise BadInput("lies in the artifact, which stays as it was compiled", where=str(output), hint="-o dist/")
    made = pack(load(artifact), emitted(emit), output, package_version)
    console().print(figures([(form, f"{path} ({nbytes(_size(path))})") for form, path in made.items()]))


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
