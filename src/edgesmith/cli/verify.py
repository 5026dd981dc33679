"""``edgesmith verify``: a compiled model against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edgesmith import api, knobs
from edgesmith.cli import arguments
from edgesmith.cli.arguments import ArtifactArgument, BindOption
from edgesmith.cli.console import console, figures, print_json, table
from edgesmith.cli.devices import OnOption, attached
from edgesmith.cli.progress import stages
from edgesmith.device import Artifact, load, runnable_variant
from edgesmith.device.settings import PREPROCESS, source
from edgesmith.errors import BadInput
from edgesmith.preprocess import Preprocess, load_arrays, load_input
from edgesmith.release import check_signature
from edgesmith.verify import Difference, Verification


def command(
    context: typer.Context,
    artifact: ArtifactArgument,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="What it was compiled from; default: where that was at the time."),
    ] = None,
    bind: BindOption = None,
    given: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="[NAME=]FILE", help="Inputs (picture, .npy, .npz); default: random."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs; 0: those of the self-test.")] = 0,
    every: Annotated[bool, typer.Option("--all/--outputs", help="Print all layers, or only the outputs.")] = True,
    keep: Annotated[
        Path | None, typer.Option(help="Keep report and first wrong layer's arrays in this folder.")
    ] = None,
    on: OnOption = "",
    key: Annotated[
        Path | None,
        typer.Option(help="Check first that this public key's owner signed it; without MODEL, check nothing else."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a compiled model with ONNX Runtime, output by output and layer by layer.

    Every layer runs twice: alone, on the inputs that the reference has there ('error', which must stay below
    'tolerance', derived from the type and the length of the sums), and in the running program ('accumulated'). The
    files of the artifact are compared with their hashes first. Exit status 1 when something differs.

    Of an artifact for several instruction sets, all variants are compared that run here, or with --on the one that the
    device picks; EDGESMITH_ISA names one.

    With --on, the program runs on a device, where it is gone again afterwards. A program for another machine runs in
    QEMU where that is installed.

    \b
    Examples:
      edgesmith verify out/ model.onnx
      edgesmith verify out/ model.onnx --input photo.jpg --outputs
      edgesmith verify out/ --seed 7 --json
      edgesmith verify out/ model.onnx --on ssh://pi@raspberrypi
      edgesmith verify out/ --key release.pub
    """
    if key and model is None:
        unused = ("bind", "given", "seed", "every", "keep", "on")
        why = "with --key alone, which compares no results"
        arguments.refuse_unused(context, unused, why, f"edgesmith verify {artifact} model.onnx --key {key}")
    if as_json:
        arguments.refuse_unused(context, ["every"], "with --json, which has all layers")
    if key:
        fingerprint = check_signature(artifact, key).key
        if not as_json:
            console().print(figures([("signed", "all files are as signed"), ("key", fingerprint)]))
        if model is None:
            if as_json:
                print_json({"signature": fingerprint})
            return
    program = load(artifact)
    program.check()
    text = model or source(program.path, program.manifest)
    if text is None:
        raise BadInput(
            "the model that it was compiled from is not where it was",
            where=str(program.path),
            hint=f"edgesmith verify {artifact} model.onnx",
        )
    results: dict[str, Verification] = {}
    for one in [program] if on else _variants(program):
        with attached(on, one) as (device, running), stages() as report:
            found = results[running.variant or ""] = api.verify(
                running,
                arguments.model(text),
                inputs=_inputs(running, given) if given else None,
                bindings=arguments.bindings(bind),
                seed=seed,
                progress=report,
                device=device,
            )
        if keep:
            found.keep(keep / running.variant if running.variant else keep)
        if not as_json:
            _print(found, every, running.variant)
    if as_json:
        tables = {variant: _json(found) for variant, found in results.items()}
        print_json({"variants": tables} if program.variants else tables[""])
    elif left := [v for v in program.variants if v not in results]:
        console().print(f"not run here: {', '.join(left)}")
    if not all(found.ok for found in results.values()):
        raise typer.Exit(1)


def _variants(program: Artifact) -> list[Artifact]:
    """The program; of several variants, all that this machine or an emulator runs, unless one is asked for."""
    if not program.variants or knobs.ISA():
        return [program]
    every = [load(program.path, isa=variant) for variant in program.variants]
    return [one for one in every if runnable_variant(one.target)] or [program]


def _inputs(program: Artifact, given: list[str]) -> dict[str, np.ndarray]:
    kept = program.manifest.get(PREPROCESS)
    picture = Preprocess.from_json(kept) if kept else Preprocess()
    arrays: dict[str, np.ndarray] = {}
    for text in given:
        name, separator, file = text.partition("=")
        if not separator or name not in program.inputs:
            file = text
            name = next((n for n in program.inputs if n not in arrays), "")
        path = Path(file)
        loaded = load_arrays(path) if path.suffix == ".npz" else None
        if isinstance(loaded, dict):
            arrays |= loaded
        elif not name:
            raise BadInput("more files than inputs", where=file)
        else:
            arrays[name] = load_input(path, program.inputs[name], picture)
    return arrays


def _json(found: Verification) -> dict[str, object]:
    outputs = {name: {**vars(d), "at": list(d.at), "ok": d.ok} for name, d in found.outputs.items()}
    reason = None if found.ok else found.reason()
    shared = {"ok": found.ok, "reason": reason, "seed": found.seed, "device": found.device or None}
    return {**shared, "outputs": outputs, "layers": found.table()}


def _mark(ok: bool) -> str:
    return "[green]ok[/green]" if ok else "[bold red]WRONG[/bold red]"


def _figures(d: Difference) -> tuple[str, ...]:
    return f"{d.max_abs:.3g}", f"{d.tolerance:.3g}", f"{d.ratio:.1%}"


def _print(found: Verification, every: bool, variant: str | None) -> None:
    out = console()
    if variant:
        out.print(f"variant {variant}", style="bold")
    if every and found.layers:
        layers = table("", ">step|layer|operators|kernel|>error|>tolerance|>share|>accumulated|>allowed|")
        for layer in found.layers:
            layers.add_row(
                "view" if layer.step is None else str(layer.step),
                layer.name,
                layer.operators,
                layer.kernel,
                *_figures(layer.isolated),
                f"{layer.accumulated.max_abs:.3g}",
                f"{layer.accumulated.tolerance:.3g}",
                _mark(layer.ok),
            )
        out.print(layers)
    outputs = table("", "output|>max error|>tolerance|>share|>relative|>rms|>ulp|")
    for name, d in found.outputs.items():
        cells = (f"{d.relative:.2g}", f"{d.rms:.2g}", f"{d.ulp:.1f}")
        outputs.add_row(name, *_figures(d), *cells, _mark(d.ok))
    out.print(outputs)
    if found.ok:
        count = len(found.layers)
        where = (f", {count} layers" if count else "") + (f" on {found.device}" if found.device else "")
        out.print(f"agrees with ONNX Runtime: {len(found.outputs)} outputs{where}", style="green")
    else:
        out.print(f"differs: {found.reason()}", style="red", markup=False)
