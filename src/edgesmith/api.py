"""The pipeline on one screen: a model becomes a verified artifact."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from edgesmith import cache as artifacts
from edgesmith import tune as tuning
from edgesmith.atomic import write_file
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.deploy import connect
from edgesmith.device import Artifact, Device, runnable
from edgesmith.device.artifact import MANIFEST, PRECISION, VERIFICATION
from edgesmith.device.folder import failed_folder, replacing
from edgesmith.device.local import checked_threads
from edgesmith.errors import BadInput, ResourceLimit
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.frontend.torch import export
from edgesmith.ir import Graph
from edgesmith.packaging import check_target, checked_forms, checked_version
from edgesmith.passes import optimize
from edgesmith.passes.quantized_values import Quantization
from edgesmith.pipeline.latency import PREDICTED, Latency
from edgesmith.pipeline.making import Making, write_manifest
from edgesmith.pipeline.planning import (
    allowed_kernels,
    checked_isas,
    compiler_of,
    lock_text,
    mixed_precision,
    targets_of,
)
from edgesmith.pipeline.ports import ports_of
from edgesmith.pipeline.progress import Progress, silent
from edgesmith.pipeline.quantizer import Quantizer, settings_for
from edgesmith.pipeline.source import (
    Arrays,
    Model,
    checked_arrays,
    digests,
    oracle_of,
    read,
    roundoff_of,
    sorted_shapes,
)
from edgesmith.plan import divided, own_memory
from edgesmith.preprocess import Preprocess
from edgesmith.quantize import Quantized, Settings, Source
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.recipe import PARTS, Recipe
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.toolchain.compiler import system
from edgesmith.verify import Verification
from edgesmith.verify import verify as compare_layers
from edgesmith.version import __version__

__all__ = ["Latency", "Progress", "compile", "compile_graph", "from_torch", "latency", "quantize", "tune", "verify"]

FLOAT, AUTO = "f32", "auto"
"""The precision of models as they are."""
QUANTIZED = "quantized.onnx"
"""The file of an artifact that holds the model it was quantised to."""
TUNING = ("off", "cached", "full")
BUDGET_SECONDS = 300.0


@contextmanager
def _within_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise ResourceLimit(
            f"the machine's memory does not suffice: {error}".rstrip(": "),
            hint="Fix smaller shapes with --shape, or use a machine with more memory.",
        ) from error


@_within_memory()
def compile(
    model: Model,
    *,
    target: str = "native",
    output: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Arrays | None = None,
    threads: int = 1,
    tune: str = "cached",
    budget_seconds: float = BUDGET_SECONDS,
    lock: str | Path | None = None,
    only: Sequence[str] | None = None,
    forbid: Sequence[str] = (),
    verify: bool = True,
    compiler: str = "zig",
    name: str | None = None,
    cache: bool = True,
    precision: str = FLOAT,
    input_type: str = Recipe.input_type,
    output_type: str = Recipe.output_type,
    isas: Sequence[str] = (),
    max_ram: int = 0,
    max_flash: int = 0,
    calibration: Source | None = None,
    quantization: Settings | None = None,
    preprocess: Preprocess | None = None,
    emit: Sequence[str] | None = None,
    package_version: str = Recipe.version,
    progress: Progress | None = None,
) -> Artifact:
    """Compile an ONNX model into an artifact and prove that it computes the same.

    Args:
        model: path of an ONNX file, or a loaded model.
        target: ``native``, ``portable``, ``native+avx2``, a device such as ``raspberry-pi-4``, or a triple with
            instruction sets such as ``aarch64-linux-gnu+dotprod``.
        output: the artifact's folder; replaced if it holds an artifact. Default: ``<model name>.edgesmith`` beside the
            working directory.
        shapes: extents of inputs with dynamic dimensions, such as ``{"x": (1, 3, 224, 224)}``.
        bindings: inputs fixed to a value at compile time.
        threads: threads that share one run.
        tune: where the times come from by which kernels are chosen: ``off``, their own predictions; ``cached``, the
            tuning database where it knows a layer; ``full``, measure what it does not know first.
        budget_seconds: most time for measuring.
        lock: a lock file, which makes all choices; the same lock gives the same bytes.
        only: names of the kernels that may be used (default: all).
        forbid: names of kernels that may not.
        verify: compare with ONNX Runtime; a difference beyond the derived tolerance raises ``VerificationFailed``. What
            neither this machine nor an emulator runs stays unverified (``Artifact.verification`` is None).
        compiler: ``zig`` (bundled) or a command on the PATH.
        name: base of the C symbols and files (default: the model's name).
        cache: take the artifact from the build cache when the same model was compiled in the same way before.
        precision: ``f32``: as the model computes; ``int8``, ``int16x8``, ``int16``, ``fp16``, ``bf16``: quantise it
            first (see ``quantize``); ``auto``: quantise to int8 what is faster in integers, conversions included, by
            the times that ``tune`` says. The artifact is then compared with the quantised model, which it keeps as
            ``quantized.onnx``.
        input_type, output_type: ``quantized``: inputs, or outputs, that the model quantises, or dequantises, are the
            integers; header and manifest tell scale and zero point. ``model``: what the model declares.
        isas: instruction sets, such as ``("sse2", "avx2", "avx512")``: the program is compiled for each, and picks the
            best one that the processor has when it runs.
        calibration, quantization, preprocess: data, settings and pictures of ``quantize``.
        emit: what the artifact consists of: ``shared``, ``static``, ``exe`` (default: all that the target has); and
            packaging forms (``packaging.FORMS``), which go into its folder ``packages``.
        package_version: of the packages, of what CMake and pkg-config find.
        max_ram: most bytes for a context on one thread with inputs and outputs; where whole images need more, the first
            layers are computed patch by patch. 0: what the device has.
        max_flash: most bytes for code and weights. 0: what the device has.
        progress: told about each stage.

    Raises:
        ModelError, UnsupportedOp, BadInput, ResourceLimit: the model or the arguments.
        TargetError, NoKernel, CompilerFailed: the target.
        DoesNotFit: the program needs more memory than that; the message names the layers.
        ArtifactError: the folder cannot be written.
        VerificationFailed: the program differs; it and the evidence are kept in ``<output>.failed``.
    """
    report = progress or silent
    if precision not in (FLOAT, AUTO, *PRECISIONS):
        known = ", ".join((FLOAT, *PRECISIONS, AUTO))
        raise BadInput(f"{precision!r} is not one of {known}", where="precision")
    if tune not in TUNING:
        raise BadInput(f"{tune!r} is not one of {', '.join(TUNING)}", where="tune")
    wanted = () if emit is None else checked_forms(emit, PARTS)
    fixed = checked_arrays(bindings)
    locked = lock_text(lock)
    allowed = allowed_kernels(only, forbid)
    recipe = Recipe(
        *(target, sorted_shapes(shapes), digests(fixed), checked_threads(threads), tune, locked, compiler, allowed),
        emit=wanted or PARTS,
        version=checked_version(package_version),
        max_ram_bytes=max_ram,
        max_flash_bytes=max_flash,
        isas=checked_isas(isas, locked, precision == AUTO),
        input_type=input_type,
        output_type=output_type,
    )
    targets = targets_of(recipe)
    check_target(wanted, targets[0], bool(isas), target)
    quantizer = None
    if precision != FLOAT:
        settings = settings_for("int8" if precision == AUTO else precision, quantization)
        quantizer = Quantizer.of(read(model, shapes, fixed)[0], calibration, settings, preprocess)
        recipe = replace(recipe, precision=precision, quantization=quantizer.digest)
    path = Path(model) if isinstance(model, str | Path) else None
    title = name or (path.name if path else "") or (model.graph.name if isinstance(model, onnx.ModelProto) else "")
    place = Path(output) if output else Path(f"{Path(title or 'model').stem}.edgesmith")
    digest = artifacts.model_digest(model)
    key = _cache_key(recipe, title, digest) if cache and digest and tune != "full" else None
    if key and _from_cache(key, place, verify and any(map(runnable, targets)), report):
        return Artifact(place)
    source = {"name": title, "sha256": digest, "shapes": dict(recipe.shapes), "bindings": dict(recipe.bindings)}
    source |= {"input_type": input_type, "output_type": output_type}
    kept: dict[str, bytes] = {}
    measured: dict[str, Any] = {}
    if quantizer:
        quantized = quantizer.run(place, report)
        if precision == AUTO:
            choice = mixed_precision(quantized, recipe, budget_seconds, report)
            quantized = quantized.with_floats(choice.floats)
            measured = {PRECISION: choice.to_json()}
        model, shapes, fixed = quantized.model, None, {}
        kept = {QUANTIZED: model.SerializeToString(deterministic=True)}
        source |= {"precision": precision, "quantization": quantizer.digest}
    report("read", 0, 1)
    graph, roundoff = read(model, shapes, fixed)
    report("read", 1, 1)
    outputs = graph.outputs
    ports = ports_of(graph, input_type, output_type)
    artifact = compile_graph(
        ports.graph,
        recipe,
        place,
        original=lambda feeds: ports.integers(oracle_of(model, fixed, graph).run(ports.floats(feeds), outputs)),
        source=source,
        quantizations=ports.quantizations,
        files=kept,
        measured=measured,
        roundoff=roundoff,
        verify=verify,
        budget_seconds=budget_seconds,
        progress=report,
    )
    if key:
        artifacts.insert(key, place)
    return artifact


def from_torch(module: Any, example: Any, *, output: str | Path | None = None, **options: Any) -> Artifact:
    """Compile a PyTorch module, as it computes in evaluation mode, for inputs shaped like ``example``.

    Args:
        module: a ``torch.nn.Module``.
        example: one input, a tuple of inputs, or a dict of them by argument name.
        output: the artifact's folder (default: ``<class name>.edgesmith``).
        options: as of ``compile``.

    Raises:
        MissingDependency: PyTorch is not installed (extra ``train``).
        ModelError: PyTorch cannot export the module; and whatever ``compile`` raises.
    """
    name = type(module).__name__
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        path = Path(folder) / f"{name}.onnx"
        export(module, example, path)
        return compile(path, output=output or f"{name}.edgesmith", **options)


@_within_memory()
def compile_graph(
    graph: Graph,
    recipe: Recipe,
    output: Path,
    *,
    original: Callable[[Arrays], Arrays] | None = None,
    source: Mapping[str, Any] | None = None,
    quantizations: Mapping[str, Quantization] | None = None,
    files: Mapping[str, bytes] | None = None,
    measured: Mapping[str, Any] | None = None,
    roundoff: float = 0.0,
    verify: bool = True,
    budget_seconds: float = BUDGET_SECONDS,
    progress: Progress | None = None,
) -> Artifact:
    """Compile a graph into an artifact; see ``compile``.

    Args:
        original: gives the outputs of the model that the graph comes from (default: the graph itself in ONNX Runtime).
        source: what the manifest says about that model.
        quantizations: how integers stand for numbers, of inputs and outputs where that is known.
        files: further files of the artifact.
        measured: further files of it that have no hash, because they change from run to run, as data.
        roundoff: its unit roundoff where that is coarser than the graph's.
        budget_seconds: most time for measuring, when the recipe says so.
    """
    made = Making(
        graph,
        recipe,
        source or {"name": graph.name},
        quantizations=quantizations or {},
        original=original,
        roundoff=roundoff,
        budget_seconds=budget_seconds,
        report=progress or silent,
    )
    with replacing(output) as folder:
        made.write_sources(folder)
        for file, data in (files or {}).items():
            (folder / file).write_bytes(data)
        for file, found in (measured or {}).items():
            (folder / file).write_text(json.dumps(found, indent=1) + "\n")
        built = made.build(folder, verify=verify)
        manifest = made.describe(folder, built)
        if verify:
            made.compare(folder, failed_folder(output))
        made.pack(folder)
        for part, path in built.items():
            if part not in recipe.emit:
                path.unlink()
        write_manifest(folder, manifest)
    return Artifact(output)


@_within_memory()
def quantize(
    model: Model,
    calibration: Source | None = None,
    *,
    precision: str = "int8",
    settings: Settings | None = None,
    output: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Arrays | None = None,
    preprocess: Preprocess | None = None,
    samples: int | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a model after training; ``.model`` of the result is standard ONNX with QuantizeLinear and
    DequantizeLinear (or weights in 16-bit floats), ``.errors`` says what it costs in accuracy, ``.notices`` what is
    doubtful.

    Args:
        calibration: typical inputs: a folder of pictures or arrays, a .npz or .npy file, ``module:function``, arrays,
            a list or a function that gives arrays or dicts; ``none``: synthetic inputs (see ``open_samples``). fp16 and
            bf16 need none; where there are any, they tell the error.
        precision: ``int8``, ``int16x8`` (16-bit activations), ``int16``, or ``fp16`` and ``bf16``: weights that are
            stored in 16 bits, arithmetic in f32.
        settings: how; default: a scale for each channel of weights, ranges of least cubed error.
        output: write the model to this file. An interrupted calibration goes on from a file beside it.
        preprocess: how pictures become inputs.
        samples: most runs for calibration (default: all data).
        progress: told about each stage.

    Other arguments and errors as of ``compile``.
    """
    report = progress or silent
    report("read", 0, 1)
    graph, _ = read(model, shapes, checked_arrays(bindings))
    report("read", 1, 1)
    quantizer = Quantizer.of(graph, calibration, settings_for(precision, settings), preprocess, samples)
    found = quantizer.run(Path(output) if output else None, report)
    if output:
        write_file(Path(output), found.model.SerializeToString(deterministic=True))
    return found


@_within_memory()
def tune(
    model: Model,
    *,
    target: str = "native",
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Arrays | None = None,
    budget_seconds: float = BUDGET_SECONDS,
    compiler: str = "zig",
    only: Sequence[str] | None = None,
    forbid: Sequence[str] = (),
    modelled: bool = False,
    on: str = "",
    progress: tuning.Progress | None = None,
) -> tuning.Tuned:
    """Measure kernels for the layers of a model and choose the fastest; ``tuned.plan.lock`` holds the choices.

    What is measured is kept in the user's tuning database at once, so an interrupted search goes on where it ended.

    Args:
        budget_seconds: most time for measuring; it ends earlier when nothing is left to gain.
        modelled: by what a model of the target's core takes (QEMU and ``llvm-mca``), instead of by measuring; for
            targets that this machine cannot run.
        on: address of the device where candidates run, such as ``ssh://pi@host`` (default: this machine). Records are
            then of that device's processor. A lost connection is waited for.
        progress: told about each layer that was measured, and why nothing is.

    Other arguments and errors as of ``compile``.
    """
    graph, _ = optimize(read(model, shapes, checked_arrays(bindings))[0])
    tool = zig() if compiler == "zig" else system(compiler)
    with connect(on, parse(target)) if on else nullcontext() as device:
        return tuning.tune(
            graph,
            parse(target),
            tool,
            only=allowed_kernels(only, forbid),
            budget_seconds=budget_seconds,
            modelled=modelled,
            progress=progress,
            device=device,
        )


@_within_memory()
def verify(
    artifact: Artifact,
    model: Model,
    *,
    inputs: Arrays | None = None,
    bindings: Arrays | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    device: Device | None = None,
) -> Verification:
    """Compare an artifact with the model that it was compiled from, in ONNX Runtime, layer by layer.

    An artifact that was quantised when it was compiled is compared with the quantised model that it keeps.

    Args:
        inputs: by name (default: random, from ``seed``; 0 gives the self-test's inputs).
        bindings: the bindings that it was compiled with.
        device: where it runs, such as ``deploy.attach`` gives it (default: in this process, or in an emulator).

    Raises:
        ArtifactError: the artifact was compiled from another model.
        ModelError, BadInput: the model cannot be read, or the inputs do not fit it.
    """
    report = progress or silent
    artifact = device.chosen(artifact) if device else artifact
    fixed, shapes = checked_arrays(bindings), artifact.manifest["model"].get("shapes")
    quantized = artifact.path / QUANTIZED
    if quantized.is_file():
        model, fixed, shapes = quantized, {}, None
    clean = normalize(model, shapes=shapes, bindings=fixed)
    graph = bind(clean)
    outputs = graph.outputs
    about = artifact.manifest["model"]
    ports = ports_of(graph, about.get("input_type", Recipe.input_type), about.get("output_type", Recipe.output_type))
    graph = own_memory(optimize(ports.graph)[0])
    if artifact.patching:
        graph = divided(graph, artifact.patching)
    io = [graph.type(v) for v in graph.inputs]
    feeds = artifact.checked(inputs) if inputs else dict(zip(graph.inputs, selftest_inputs(io, seed), strict=True))
    return compare_layers(
        artifact,
        graph,
        feeds,
        expected=ports.integers(oracle_of(model, fixed, graph).run(ports.floats(feeds), outputs)),
        roundoff=roundoff_of(clean),
        seed=None if inputs else seed,
        progress=lambda i, n: report("verify", i, n),
        device=device,
    )


def latency(
    target: str = "native",
    *,
    mode: str = PREDICTED,
    example: Any = None,
    threads: int = 1,
    precision: str = FLOAT,
    shapes: Mapping[str, Sequence[int]] | None = None,
    on: str = "",
    budget_seconds: float = BUDGET_SECONDS,
    kept: str | Path | None = None,
) -> Latency:
    """Milliseconds of one inference as a function of a PyTorch module or an ONNX model.

    ``latency("raspberry-pi-4", example=x)(module)`` is what methods of ``edgesmith.compress`` take as latency;
    ``latency(mode="measured").times({"before": a, "after": b})`` measures several in interleaved rounds; ``.size(m)``
    gives bytes.

    Args:
        mode: ``predicted`` (no compiler, less than a second for small networks), ``measured``, or ``tuned``: measured
            after its kernels were.
        budget_seconds: most time for measuring the kernels of one model, where ``mode`` is ``tuned``.

    Other arguments and errors as of ``pipeline.latency.Latency``.
    """
    return Latency(
        target,
        mode=mode,
        threads=threads,
        precision=precision,
        example=example,
        shapes=shapes,
        on=on,
        kept=kept,
        compile=partial(compile, budget_seconds=budget_seconds),
    )


def _from_cache(key: str, output: Path, verified: bool, report: Progress) -> bool:
    report("cache", 0, 1)
    with replacing(output) as folder:
        hit = artifacts.find(key, VERIFICATION if verified else MANIFEST, folder)
        if not hit:
            folder.rmdir()
    report("cache", 1, 1)
    return hit


def _cache_key(recipe: Recipe, title: str, digest: str) -> str:
    tool, targets = compiler_of(recipe), targets_of(recipe)
    by_times = recipe.tune == "cached" and recipe.lock is None
    times = [tuning.recorded(t, tool).state for t in targets] if by_times else []
    return recipe.digest(
        title, digest, artifacts.source_digest(), tool.name, tool.version, repr(targets), *times, __version__
    )
