"""The pipeline on one screen: a model becomes a verified artifact."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgesmith import cache as artifacts
from edgesmith import tune as tuning
from edgesmith.atomic import write_file
from edgesmith.codegen import generate
from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.device import Artifact
from edgesmith.device.artifact import LOCK, MANIFEST, PRECISION, TIMES, VERIFICATION, sha256
from edgesmith.device.folder import FAILED, failed_folder, replacing
from edgesmith.device.local import checked_threads
from edgesmith.device.manifest import describe
from edgesmith.errors import BadInput, ResourceLimit, VerificationFailed
from edgesmith.frontend.normalize import checked_shapes, normalize
from edgesmith.frontend.onnx import bind
from edgesmith.frontend.torch import export
from edgesmith.ir import DType, Graph
from edgesmith.kernels import KERNELS
from edgesmith.oracle import Oracle, half_precision
from edgesmith.passes import optimize
from edgesmith.plan import CostModel, Lock, Plan, analytic, make_plan, own_memory
from edgesmith.preprocess import Preprocess
from edgesmith.quantize import NO_DATA, Quantized, Samples, Settings, Source, open_samples
from edgesmith.quantize import quantize as post_training
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.recipe import Recipe
from edgesmith.target import Target, parse
from edgesmith.toolchain import Compiler, build, zig
from edgesmith.toolchain.compiler import system
from edgesmith.verify import Accumulated, Verification, accumulate
from edgesmith.verify import verify as compare_layers
from edgesmith.version import __version__

__all__ = ["Progress", "compile", "compile_graph", "from_torch", "quantize", "tune", "verify"]

Arrays = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]
"""Called with the stage's name, the pieces done and the pieces in all."""

FLOAT, AUTO = "f32", "auto"
"""The precision of models as they are."""
QUANTIZED = "quantized.onnx"
"""The file of an artifact that holds the model it was quantised to."""
CALIBRATION = ".calibration"
"""End of the name of the file that keeps an interrupted calibration."""
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
    model: str | Path | onnx.ModelProto,
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
    calibration: Source | None = None,
    quantization: Settings | None = None,
    preprocess: Preprocess | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Compile an ONNX model into an artifact and prove that it computes the same.

    Args:
        model: path of an ONNX file, or a loaded model.
        target: ``native``, ``portable``, ``native+avx2``, or a triple with instruction sets.
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
        verify: compare with ONNX Runtime; a difference beyond the derived tolerance raises ``VerificationFailed``.
        compiler: ``zig`` (bundled) or a command on the PATH.
        name: base of the C symbols and files (default: the model's name).
        cache: take the artifact from the build cache when the same model was compiled in the same way before.
        precision: ``f32``: as the model computes; ``int8``, ``int16x8``, ``int16``, ``fp16``, ``bf16``: quantise it
            first (see ``quantize``); ``auto``: quantise to int8 what is faster in integers, conversions included, by
            the times that ``tune`` says. The artifact is then compared with the quantised model, which it keeps as
            ``quantized.onnx``.
        calibration, quantization, preprocess: data, settings and pictures of ``quantize``.
        progress: told about each stage.

    Raises:
        ModelError, UnsupportedOp, BadInput, ResourceLimit: the model or the arguments.
        TargetError, NoKernel, CompilerFailed: the target.
        ArtifactError: the folder cannot be written.
        VerificationFailed: the program differs; it and the evidence are kept in ``<output>.failed``.
    """
    report = progress or _silent
    if precision not in (FLOAT, AUTO, *PRECISIONS):
        known = ", ".join((FLOAT, *PRECISIONS, AUTO))
        raise BadInput(f"{precision!r} is not one of {known}", where="precision")
    if tune not in TUNING:
        raise BadInput(f"{tune!r} is not one of {', '.join(TUNING)}", where="tune")
    fixed = _arrays(bindings)
    locked = _lock_text(lock)
    allowed = _allowed(only, forbid)
    recipe = Recipe(target, _shapes(shapes), _digests(fixed), checked_threads(threads), tune, locked, compiler, allowed)
    quantizer = None
    if precision != FLOAT:
        settings = _settings("int8" if precision == AUTO else precision, quantization)
        quantizer = _Quantizer.of(_read(model, shapes, fixed)[0], calibration, settings, preprocess)
        recipe = replace(recipe, precision=precision, quantization=quantizer.digest)
    path = Path(model) if isinstance(model, str | Path) else None
    title = name or (path.name if path else "") or (model.graph.name if isinstance(model, onnx.ModelProto) else "")
    place = Path(output) if output else Path(f"{Path(title or 'model').stem}.edgesmith")
    digest = artifacts.model_digest(model)
    key = _cache_key(recipe, title, digest) if cache and digest and tune != "full" else None
    if key and _from_cache(key, place, verify, report):
        return Artifact(place)
    source = {"name": title, "sha256": digest, "shapes": dict(recipe.shapes), "bindings": dict(recipe.bindings)}
    kept: dict[str, bytes] = {}
    measured: dict[str, Any] = {}
    if quantizer:
        quantized = quantizer.run(place, report)
        if precision == AUTO:
            choice = _mixed(quantized, recipe, budget_seconds, report)
            quantized = quantized.with_floats(choice.floats)
            measured = {PRECISION: choice.to_json()}
        model, shapes, fixed = quantized.model, None, {}
        kept = {QUANTIZED: model.SerializeToString(deterministic=True)}
        source |= {"precision": precision, "quantization": quantizer.digest}
    report("read", 0, 1)
    graph, roundoff = _read(model, shapes, fixed)
    report("read", 1, 1)
    outputs = graph.outputs
    artifact = compile_graph(
        graph,
        recipe,
        place,
        original=lambda feeds: _original(model, fixed, graph).run(feeds, outputs),
        source=source,
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
        files: further files of the artifact.
        measured: further files of it that have no hash, because they change from run to run, as data.
        roundoff: its unit roundoff where that is coarser than the graph's.
        budget_seconds: most time for measuring, when the recipe says so.
    """
    report = progress or _silent
    target = parse(recipe.target)
    tool = _compiler(recipe)
    source = source or {"name": graph.name}
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    graph, passes = optimize(graph)
    plan = _plan(graph, target, tool, recipe, budget_seconds, report)
    report("reference", 0, 1)
    computed = {s.name: (s.kernel, s.schedule) for s in plan.steps}
    known = accumulate(plan.graph, feeds, computed=computed, roundoff=roundoff)
    expected = original(feeds) if original else known.outputs
    report("reference", 1, 1)
    package = generate(plan, source["name"].rsplit(".onnx", 1)[0], __version__)
    with replacing(output) as folder:
        src = folder / "src"
        src.mkdir()
        header = _selftest(plan.graph, feeds, expected, known)
        package.write(src)
        (folder / LOCK).write_text(plan.lock.to_json())
        (src / "selftest_data.h").write_bytes(header)
        for file, data in (files or {}).items():
            (folder / file).write_bytes(data)
        build(
            src,
            folder,
            package.name,
            target,
            tool,
            extra=recipe.flags,
            executable=recipe.executable,
            progress=lambda i, n: report("compile", i, n),
        )
        manifest = describe(
            plan,
            package,
            tolerances=known.tolerances,
            threads=recipe.threads,
            model=source,
            tools={"edgesmith": __version__, "compiler": f"{tool.name} {tool.version}"},
            passes=passes,
        )
        written = sorted(p for p in folder.rglob("*") if p.is_file())
        manifest["files"] = {p.relative_to(folder).as_posix(): sha256(p) for p in written}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        times = tuning.known_times(plan, tuning.recorded(target, tool), recipe.only) if recipe.tune != "off" else {}
        for file, data in {TIMES: times, **(measured or {})}.items():
            (folder / file).write_text(json.dumps(data, indent=1) + "\n")
        if verify:
            result = compare_layers(
                Artifact(folder),
                plan.graph,
                feeds,
                expected=expected,
                accumulated=known,
                progress=lambda i, n: report("verify", i, n),
            )
            if not result.ok:
                _keep_evidence(result, folder, failed_folder(output))
            result.write(folder)
    return Artifact(output)


@_within_memory()
def quantize(
    model: str | Path | onnx.ModelProto,
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
    report = progress or _silent
    report("read", 0, 1)
    graph, _ = _read(model, shapes, _arrays(bindings))
    report("read", 1, 1)
    quantizer = _Quantizer.of(graph, calibration, _settings(precision, settings), preprocess, samples)
    found = quantizer.run(Path(output) if output else None, report)
    if output:
        write_file(Path(output), found.model.SerializeToString(deterministic=True))
    return found


@_within_memory()
def tune(
    model: str | Path | onnx.ModelProto,
    *,
    target: str = "native",
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Arrays | None = None,
    budget_seconds: float = BUDGET_SECONDS,
    compiler: str = "zig",
    only: Sequence[str] | None = None,
    forbid: Sequence[str] = (),
    progress: tuning.Progress | None = None,
) -> tuning.Tuned:
    """Measure kernels for the layers of a model and choose the fastest; ``tuned.plan.lock`` holds the choices.

    What is measured is kept in the user's tuning database at once, so an interrupted search goes on where it ended.

    Args:
        budget_seconds: most time for measuring; it ends earlier when nothing is left to gain.
        progress: told about each layer that was measured.

    Other arguments and errors as of ``compile``.
    """
    graph, _ = optimize(_read(model, shapes, _arrays(bindings))[0])
    tool = zig() if compiler == "zig" else system(compiler)
    return tuning.tune(
        graph,
        parse(target),
        tool,
        only=_allowed(only, forbid),
        budget_seconds=budget_seconds,
        progress=progress,
    )


@_within_memory()
def verify(
    artifact: Artifact,
    model: str | Path | onnx.ModelProto,
    *,
    inputs: Arrays | None = None,
    bindings: Arrays | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Compare an artifact with the model that it was compiled from, in ONNX Runtime, layer by layer.

    An artifact that was quantised when it was compiled is compared with the quantised model that it keeps.

    Args:
        inputs: by name (default: random, from ``seed``; 0 gives the self-test's inputs).
        bindings: the bindings that it was compiled with.

    Raises:
        ArtifactError: the artifact was compiled from another model.
        ModelError, BadInput: the model cannot be read, or the inputs do not fit it.
    """
    report = progress or _silent
    fixed, shapes = _arrays(bindings), artifact.manifest["model"].get("shapes")
    quantized = artifact.path / QUANTIZED
    if quantized.is_file():
        model, fixed, shapes = quantized, {}, None
    clean = normalize(model, shapes=shapes, bindings=fixed)
    graph = bind(clean)
    outputs = graph.outputs
    graph = own_memory(optimize(graph)[0])
    io = [graph.type(v) for v in graph.inputs]
    feeds = artifact.checked(inputs) if inputs else dict(zip(graph.inputs, selftest_inputs(io, seed), strict=True))
    return compare_layers(
        artifact,
        graph,
        feeds,
        expected=_original(model, fixed, graph).run(feeds, outputs),
        roundoff=_roundoff(clean),
        seed=None if inputs else seed,
        progress=lambda i, n: report("verify", i, n),
    )


@dataclass(frozen=True)
class _Quantizer:
    """A float graph, the data to calibrate it with, and how."""

    graph: Graph
    samples: Samples | None
    settings: Settings

    @classmethod
    def of(
        cls,
        graph: Graph,
        calibration: Source | None,
        settings: Settings,
        preprocess: Preprocess | None,
        limit: int | None = None,
    ) -> _Quantizer:
        if calibration is None and not settings.kind.is_integer:
            return cls(graph, None, settings)
        if calibration is None:
            hint = f'typical inputs: calibration="folder", "file.npz" or "module:function"; or {NO_DATA!r}'
            raise BadInput(f"{settings.precision} needs calibration data", where="calibration", hint=hint)
        inputs = {v: graph.type(v) for v in graph.inputs}
        return cls(graph, open_samples(calibration, inputs, preprocess, limit=limit), settings)

    @property
    def digest(self) -> str:
        return self.settings.digest(self.samples.digest) if self.samples else self.settings.digest()

    def run(self, output: Path | None, report: Progress) -> Quantized:
        """Quantise; the state of an interrupted calibration is kept beside ``output``."""
        state = output and output.with_name(f"{output.name}{CALIBRATION}")
        return post_training(optimize(self.graph)[0], self.samples, self.settings, state=state, progress=report)


def _settings(precision: str, settings: Settings | None) -> Settings:
    return replace(settings or Settings(), precision=precision)


def _silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller who gave none."""


def _read(
    model: str | Path | onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None, fixed: Arrays
) -> tuple[Graph, float]:
    """The graph of a model, and the unit roundoff of the model where that is coarser than the graph's."""
    clean = normalize(model, shapes=shapes, bindings=fixed)
    return bind(clean), _roundoff(clean)


def _roundoff(model: onnx.ModelProto) -> float:
    return max((DType(number).unit_roundoff for number in half_precision(model)), default=0.0)


def _original(model: str | Path | onnx.ModelProto, fixed: Arrays, graph: Graph) -> Oracle:
    """The model in ONNX Runtime, a quantised one as it is written: optimised, it sums products of bytes in 16 bits on
    processors without VNNI, which saturate."""
    quantised = any(n.op.name == "QuantizeLinear" for n in graph.nodes)
    return Oracle(_runnable(model), fixed, optimized=not quantised)


def _runnable(model: str | Path | onnx.ModelProto) -> str | onnx.ModelProto:
    return str(model) if isinstance(model, str | Path) else model


def _plan(
    graph: Graph, target: Target, tool: Compiler, recipe: Recipe, budget_seconds: float, report: Progress
) -> Plan:
    """The plan by the recipe's lock, or by predicted or measured times."""

    def steps(done: int, total: int) -> None:
        report("plan", done, total)

    if recipe.lock is not None:
        lock = Lock.from_json(recipe.lock)
        return make_plan(graph, target, only=recipe.only, lock=lock, progress=steps)
    if recipe.tune == "full":
        tuned = tuning.tune(
            graph,
            target,
            tool,
            only=recipe.only,
            budget_seconds=budget_seconds,
            progress=lambda s: report("tune", min(int(s.seconds), int(budget_seconds)), int(budget_seconds)),
        )
        return tuned.plan
    return make_plan(graph, target, _cost(recipe, target, tool), only=recipe.only, progress=steps)


def _mixed(quantized: Quantized, recipe: Recipe, budget_seconds: float, report: Progress) -> tuning.PrecisionChoice:
    """Which products stay in floats, by measured or predicted times."""
    target, tool = parse(recipe.target), _compiler(recipe)
    every = frozenset(quantized.products)

    def graph_of(floats: frozenset[str]) -> Graph:
        return optimize(quantized.with_floats(floats).graph)[0]

    if recipe.tune == "full":
        for floats in (every, frozenset[str]()):
            _plan(graph_of(floats), target, tool, recipe, budget_seconds / 3, report)
    return tuning.choose_precision(
        quantized.products,
        graph_of,
        target,
        _cost(recipe, target, tool),
        recipe.only,
        lambda i, n: report("precision", i, n),
    )


def _cost(recipe: Recipe, target: Target, tool: Compiler) -> CostModel:
    """Measured times where the recipe allows and the database knows any, predicted ones elsewhere."""
    if recipe.tune == "off":
        return analytic
    allowed = None if recipe.only is None else frozenset(recipe.only)
    return tuning.MeasuredCost(tuning.recorded(target, tool), only=allowed)


def _allowed(only: Sequence[str] | None, forbid: Sequence[str]) -> tuple[str, ...] | None:
    """The kernels that may be used, None for all."""
    unknown = [name for name in (*(only or ()), *forbid) if name not in KERNELS]
    if unknown:
        raise BadInput(f"there is no kernel {unknown[0]!r}", where="kernels", hint=f"There are: {', '.join(KERNELS)}")
    if only is None and not forbid:
        return None
    return tuple(sorted(set(KERNELS if only is None else only) - set(forbid)))


def _lock_text(lock: str | Path | None) -> str | None:
    if lock is None:
        return None
    try:
        text = Path(lock).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {error}", where=str(lock), hint="Write one with: edgesmith tune") from error
    return Lock.from_json(text, str(lock)).to_json()


def _compiler(recipe: Recipe) -> Compiler:
    return zig() if recipe.compiler == "zig" else system(recipe.compiler)


def _selftest(graph: Graph, feeds: Arrays, expected: Arrays, known: Accumulated) -> bytes:
    tolerances = [known.tolerances[v] for v in graph.outputs]
    return selftest_header(list(feeds.values()), [expected[v] for v in graph.outputs], tolerances).encode()


def _keep_evidence(result: Verification, folder: Path, failed: Path) -> None:
    """Move the program that failed to ``failed`` together with the evidence, and raise ``VerificationFailed``."""
    with replacing(failed) as kept:
        for part in folder.iterdir():
            part.rename(kept / part.name)
        (kept / MANIFEST).rename(kept / FAILED)
        result.keep(kept)
    result.evidence_path = failed
    result.require()
    raise VerificationFailed("unreachable")


def _from_cache(key: str, output: Path, verified: bool, report: Progress) -> bool:
    report("cache", 0, 1)
    with replacing(output) as folder:
        hit = artifacts.find(key, VERIFICATION if verified else MANIFEST, folder)
        if not hit:
            folder.rmdir()
    report("cache", 1, 1)
    return hit


def _cache_key(recipe: Recipe, title: str, digest: str) -> str:
    tool, target = _compiler(recipe), parse(recipe.target)
    by_times = recipe.tune == "cached" and recipe.lock is None
    times = tuning.recorded(target, tool).state if by_times else ""
    return recipe.digest(
        title, digest, artifacts.source_digest(), tool.name, tool.version, repr(target), times, __version__
    )


def _shapes(shapes: Mapping[str, Sequence[int]] | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted((name, tuple(shape)) for name, shape in checked_shapes(shapes or {}).items()))


def _arrays(bindings: Arrays | None) -> dict[str, np.ndarray]:
    found = {}
    for name, value in (bindings or {}).items():
        try:
            found[name] = np.asarray(value)
        except ValueError as error:
            raise BadInput(f"not an array: {error}", where=f"input {name!r}") from error
    return found


def _digests(arrays: Arrays) -> tuple[tuple[str, str], ...]:
    def digest(a: np.ndarray) -> str:
        return hashlib.sha256(f"{a.dtype}{a.shape}".encode() + a.tobytes()).hexdigest()

    return tuple(sorted((name, digest(a)) for name, a in arrays.items()))
