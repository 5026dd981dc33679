"""``edgesmith compile``: a model becomes an artifact."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgesmith import api
from edgesmith.cli import arguments, choosing
from edgesmith.cli.arguments import BindOption, ModelArgument, ShapeOption
from edgesmith.cli.choosing import (
    BudgetOption,
    ForbidOption,
    LockOption,
    MaxFlashOption,
    MaxRamOption,
    OnlyOption,
)
from edgesmith.cli.console import console, figures, print_json
from edgesmith.cli.packing import EmitOption, VersionOption, emitted
from edgesmith.cli.picture import (
    BgrOption,
    FitOption,
    LayoutOption,
    MeanOption,
    ScaleOption,
    SizeOption,
    StdOption,
    preprocessing,
)
from edgesmith.cli.progress import stages
from edgesmith.cli.quantizing import (
    ActivationsOption,
    CalibrationOption,
    PrecisionOption,
    require_calibration,
    settings_of,
)
from edgesmith.device import Artifact, emulated, load
from edgesmith.device.settings import PREPROCESS, SOURCE, keep
from edgesmith.errors import TargetError
from edgesmith.packaging import PACKAGES
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.recipe import Recipe
from edgesmith.report.units import count, duration, nbytes
from edgesmith.target import cores, runs_here


def command(
    context: typer.Context,
    model: ModelArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the artifact. [default: NAME.edgesmith]")
    ] = None,
    shape: ShapeOption = None,
    bind: BindOption = None,
    target: Annotated[
        str, typer.Option(help="native, portable (plain C99), a device or a triple; see 'edgesmith targets'.")
    ] = "native",
    isa: Annotated[
        str | None,
        typer.Option(
            metavar="SET,...", help="Compile for each of these instruction sets; the program picks one when it runs."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that share one run.")] = 1,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare with ONNX Runtime.")] = True,
    tune: Annotated[
        str,
        typer.Option(
            help="Times by which kernels are chosen: off (predicted), cached (measured before), full (measure first)."
        ),
    ] = "cached",
    budget: BudgetOption = "5m",
    lock: LockOption = None,
    only: OnlyOption = None,
    forbid: ForbidOption = None,
    max_ram: MaxRamOption = None,
    max_flash: MaxFlashOption = None,
    compiler: Annotated[str, typer.Option(help="zig (bundled) or a command such as gcc.")] = "zig",
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Use what the same model and options gave before.")
    ] = True,
    precision: PrecisionOption = "f32",
    calibration: CalibrationOption = None,
    activations: ActivationsOption = None,
    input_type: Annotated[
        str, typer.Option(metavar="model|quantized", help="quantized: inputs are the integers of a quantised model.")
    ] = Recipe.input_type,
    output_type: Annotated[
        str, typer.Option(metavar="model|quantized", help="quantized: outputs are the integers of a quantised model.")
    ] = Recipe.output_type,
    name: Annotated[str | None, typer.Option(help="Prefix of the C symbols; default: the model's name.")] = None,
    emit: EmitOption = None,
    package_version: VersionOption = Recipe.version,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
    size: SizeOption = None,
    fit: FitOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bgr: BgrOption = None,
    layout: LayoutOption = None,
) -> None:
    """Turn a model into a native program and prove that it computes the same as ONNX Runtime.

    The artifact is a folder with a shared and a static library, a C header, an executable with a self-test, the C
    sources, and manifest.json, which says what was decided. It replaces an artifact of that name when all went well.

    --emit chooses the parts, and packages, which go into the artifact's folder 'packages'; 'edgesmith pack' makes
    them later.

    How pictures become inputs (--mean, --std, ...) can be given here, and is then kept for 'edgesmith run'.

    \b
    Examples:
      edgesmith compile model.onnx -o out/
      edgesmith compile model.onnx -o out/ --shape x=1,3,224,224
      edgesmith compile model.onnx -o out/ --bind sizes=@sizes.npy --threads 2
      edgesmith compile zoo:mobilenet-v2 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
      edgesmith compile model.onnx -o out/ --target portable --compiler gcc
      edgesmith compile model.onnx -o out/ --target raspberry-pi-4
      edgesmith compile model.onnx -o out/ --target stm32f746 --max-ram 256k --max-flash 512k
      edgesmith compile model.onnx -o out/ --target aarch64-linux-musl+dotprod
      edgesmith compile model.onnx -o out/ --target x86_64-linux-gnu --isa sse2,avx2,avx512
      edgesmith compile model.onnx -o out/ --tune full --budget 5m
      edgesmith compile model.onnx -o out/ --lock model.lock.json
      edgesmith compile model.onnx -o out/ --forbid winograd --forbid fft
      edgesmith compile model.onnx -o out/ --precision int8 --calibration photos/
      edgesmith compile model.onnx -o out/ --precision bf16
      edgesmith compile model.onnx -o out/ --precision fp16 --activations fp16 --target raspberry-pi-5
      edgesmith compile model_int8.onnx -o out/ --target stm32f746 --input-type quantized --output-type quantized
      edgesmith compile model.onnx -o out/ --emit shared,wheel --package-version 1.2.0
    """
    if tune != "full" or lock:
        arguments.refuse_unused(context, ["budget"], "where nothing is measured", "add --tune full, or omit it")
    if tune == "full" and lock:
        arguments.refuse_unused(context, ["tune"], "with --lock, which makes all choices")
    require_calibration(precision, calibration)
    picture = preprocessing(None, size, fit, scale, mean, std, bgr, layout)
    start = time.perf_counter()
    with stages() as report:
        artifact = api.compile(
            arguments.model(model),
            target=target,
            isas=arguments.names("--isa", isa),
            output=output or Path(f"{Path(model.removeprefix(arguments.ZOO)).stem}.edgesmith"),
            shapes=arguments.shapes(shape),
            bindings=arguments.bindings(bind),
            threads=threads,
            tune=tune,
            budget_seconds=choosing.seconds(budget),
            lock=lock,
            only=only,
            forbid=forbid or (),
            verify=verify,
            max_ram=choosing.size(max_ram, "--max-ram"),
            max_flash=choosing.size(max_flash, "--max-flash"),
            compiler=compiler,
            name=name,
            cache=cache,
            precision=precision,
            input_type=input_type,
            output_type=output_type,
            calibration=calibration,
            quantization=settings_of(precision, activations),
            preprocess=picture,
            emit=None if emit is None else emitted(emit),
            package_version=package_version,
            progress=report,
        )
    seconds = time.perf_counter() - start
    keep(artifact.path, SOURCE, model if model.startswith(arguments.ZOO) else os.path.relpath(model, artifact.path))
    if picture is not None:
        keep(artifact.path, PREPROCESS, picture.to_json())
    if as_json:
        print_json(load(artifact.path).manifest)
    else:
        _summary(artifact, seconds)


def _summary(artifact: Artifact, seconds: float) -> None:
    manifest = artifact.manifest
    memory, steps = manifest["memory"], manifest["steps"]
    kernels = Counter(step["kernel"] for step in steps)
    arena, bound = memory["arena_bytes"], memory["arena_lower_bound_bytes"]
    above = f" (+{arena / bound - 1:.1%})" if bound and arena > bound else ""
    rows = [
        ("artifact", str(artifact.path)),
        *_precision(manifest["model"]),
        ("target", f"{_target(manifest)}, {manifest['threads']} thread{'s' * (manifest['threads'] > 1)}"),
        *_variants(artifact),
        ("inputs", ", ".join(f"{v} {t}" for v, t in artifact.inputs.items())),
        ("outputs", ", ".join(f"{v} {t}" for v, t in artifact.outputs.items())),
        ("steps", f"{len(steps)}, {count(sum(s['macs'] for s in steps))} MACs"),
        ("kernels", ", ".join(f"{kernel} {n}" for kernel, n in kernels.most_common())),
        ("moves", f"{len(manifest['free'])} of the model's data movements are views, at no cost"),
        (
            "arena",
            f"{nbytes(arena)}; lower bound {nbytes(bound)}{above}; without reuse {nbytes(memory['arena_naive_bytes'])}",
        ),
        ("weights", _weights(manifest)),
        *_code(artifact, manifest.get("weights_bytes", memory["weights_bytes"])),
        ("resident", f"{nbytes(_resident_bytes(memory))}; {nbytes(memory['prepared_bytes'])} of it by prepare"),
        *_device_memory(manifest),
        *_predicted(manifest),
        *_proofs(artifact),
        *((("packages" if i == 0 else ""), str(p)) for i, p in enumerate(sorted(artifact.path.glob(f"{PACKAGES}/*")))),
        ("time", f"{seconds:.1f} s"),
    ]
    if not manifest["free"]:
        rows = [row for row in rows if row[0] != "moves"]
    console().print(figures(rows))


def _target(manifest: Mapping[str, Any]) -> str:
    device = manifest.get("device")
    return f"{device} ({manifest['target']})" if device else str(manifest["target"])


def _variants(artifact: Artifact) -> list[tuple[str, str]]:
    """The instruction sets among which the program picks."""
    if not artifact.variants:
        return []
    return [("variants", f"{', '.join(artifact.variants)}; the rows below are about {artifact.variant}")]


def _weights(manifest: Mapping[str, Any]) -> str:
    """Their size, and how much of them each variant uses."""
    own = nbytes(manifest["memory"]["weights_bytes"])
    if "variants" not in manifest:
        return own
    parts = (f"{name} {nbytes(one['memory']['weights_bytes'])}" for name, one in manifest["variants"].items())
    return f"{nbytes(manifest['weights_bytes'])} for all ({', '.join(parts)})"


def _precision(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the model was quantised to, if it was."""
    if "precision" not in model:
        return []
    kind = PRECISIONS.get(model["precision"])
    calibrated = f"; calibration {model['quantization'][:12]}" if kind is None or kind.is_integer else ""
    return [("precision", f"{model['precision']}{calibrated}")]


def _code(artifact: Artifact, weights_bytes: int) -> list[tuple[str, str]]:
    """The size of the library's code, where there is a library."""
    if not artifact.library.is_file():
        return []
    return [("code", nbytes(max(artifact.library.stat().st_size - weights_bytes, 0)))]


def _device_memory(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a microcontroller's memory has to hold."""
    memory, patches = manifest["memory"], manifest["patches"]
    if "flash_bytes" not in memory:
        return []
    peak = memory["peak"][0] if memory["peak"] else None
    rows = [
        ("flash", nbytes(memory["flash_bytes"])),
        (
            "RAM",
            f"{nbytes(memory['ram_bytes'])} with inputs and outputs" + (f"; most in {peak['step']}" if peak else ""),
        ),
    ]
    if patches:
        rows.append(("patches", f"{patches['rows']} x {patches['columns']} up to {patches['value']}"))
    return rows


def _predicted(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run is predicted to take on a core that is not here."""
    found = manifest.get("predicted")
    if not found:
        return []
    core = cores()[found["core"]].title
    text = f"{duration(found['ns'])} (x/÷ {found['factor']:g}) on {core} at {found['gigahertz']:g} GHz, one thread"
    return [("predicted", f"{text}; not measured")]


def _unverified(artifact: Artifact) -> str:
    """Why it was not compared with ONNX Runtime."""
    if not runs_here(artifact.target):
        try:
            emulated(artifact.target)
        except TargetError as error:
            return f"no: {error.why} ({error.hint}); on the device: ./{artifact.name} --selftest"
    return "no (--no-verify)"


def _resident_bytes(memory: Mapping[str, int]) -> int:
    """All that a prepared program works with on one thread."""
    parts = ("weights_bytes", "prepared_bytes", "arena_bytes", "scratch_bytes_per_worker")
    return sum(memory[part] for part in parts)


def _proofs(artifact: Artifact) -> list[tuple[str, str]]:
    """What verification found, of every variant."""
    rows = []
    for variant in artifact.variants:
        (label, first), *rest = _proof(load(artifact.path, isa=variant))
        rows += [(label, f"{variant}: {first}"), *rest]
    return rows or _proof(artifact)


def _proof(artifact: Artifact) -> list[tuple[str, str]]:
    """What verification found: the error of each output next to its tolerance, and the layer that is nearest to its."""
    found = artifact.verification
    if not found:
        return [("verified", _unverified(artifact))]
    rows = [
        ("verified", f"{d['name']}: error {float(d['max_abs']):.3g}, tolerance {float(d['tolerance']):.3g}")
        for d in found["outputs"]
    ]
    if found.get("device"):
        rows.append(("", f"on {found['device']}"))
    nearest = max(found["layers"], key=lambda layer: float(layer["share"]), default=None)
    if nearest:
        share = float(nearest["share"])
        rows.append(("", f"{len(found['layers'])} layers; at most {share:.0%} of the tolerance ({nearest['name']})"))
    return rows
