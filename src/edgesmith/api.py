"""The pipeline on one screen: a model becomes a verified artifact."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgesmith.codegen import generate
from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.device import Artifact
from edgesmith.device.artifact import MANIFEST, sha256
from edgesmith.device.manifest import describe
from edgesmith.errors import ArtifactError
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import Graph
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.recipe import Recipe
from edgesmith.target import parse
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import system
from edgesmith.verify import output_tolerances
from edgesmith.version import __version__

__all__ = ["Progress", "compile", "compile_graph"]

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, the pieces done and the pieces in all."""

Reference = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def compile(
    model: str | Path | onnx.ModelProto,
    *,
    target: str = "native",
    output: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bindings: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    tune: str = "cached",
    verify: bool = True,
    compiler: str = "zig",
    name: str | None = None,
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
        tune: ``off``: kernels by the analytic cost model; ``cached``: measured times where they are known.
        verify: compare with ONNX Runtime; a difference beyond the derived tolerance raises ``VerificationFailed``.
        compiler: ``zig`` (bundled) or a command on the PATH.
        name: base of the C symbols and files (default: the model's name).
        progress: told about each stage.

    Raises:
        ModelError, UnsupportedOp, BadInput, ResourceLimit: the model or the arguments.
        TargetError, NoKernel, CompilerFailed: the target.
        VerificationFailed: the program differs; the evidence is kept beside ``output``.
    """
    report = progress or _silent
    report("read", 0, 1)
    clean = normalize(model, shapes=shapes, bindings=bindings)
    graph = bind(clean)
    report("read", 1, 1)
    recipe = Recipe(target, _frozen(shapes), threads, compiler)
    source = {"name": name or (Path(model).name if isinstance(model, str | Path) else graph.name)}
    oracle = Oracle(clean)
    place = Path(output) if output else Path(f"{Path(source['name']).stem}.edgesmith")
    return compile_graph(graph, recipe, place, reference=oracle.run, source=source, progress=report)


def compile_graph(
    graph: Graph,
    recipe: Recipe,
    output: Path,
    *,
    reference: Reference | None = None,
    source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Compile a graph into an artifact, without verification.

    Args:
        reference: gives the expected outputs for given inputs (default: the operators' numpy references).
    """
    report = progress or _silent
    target = parse(recipe.target)
    graph, passes = optimize(graph)
    plan = make_plan(graph, target, only=recipe.only, progress=lambda i, n: report("plan", i, n))
    package = generate(plan, (source or {}).get("name", graph.name).rsplit(".onnx", 1)[0], __version__)
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    expected = (reference or graph.reference)(feeds)
    tolerances = output_tolerances(graph, expected)
    header = selftest_header(
        list(feeds.values()), [expected[v] for v in graph.outputs], [tolerances[v] for v in graph.outputs]
    )
    with _replacing(output) as folder:
        src = folder / "src"
        src.mkdir()
        for name, data in {**package.files, "selftest_data.h": header.encode()}.items():
            (src / name).write_bytes(data)
        tool = zig() if recipe.compiler == "zig" else system(recipe.compiler)
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
            tolerances=tolerances,
            threads=recipe.threads,
            model=source or {"name": graph.name},
            tools={"edgesmith": __version__, "compiler": f"{tool.name} {tool.version}"},
            passes=passes.applied,
        )
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        manifest["files"] = {p.relative_to(folder).as_posix(): sha256(p) for p in files}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return Artifact(output)


def _silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller who gave none."""


def _frozen(shapes: Mapping[str, Sequence[int]] | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted((name, tuple(shape)) for name, shape in (shapes or {}).items()))


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of ``output`` when the block succeeds and vanishes when it fails.

    Raises:
        ArtifactError: ``output`` exists and is neither empty nor an artifact.
    """
    if output.exists() and not (output / MANIFEST).is_file() and (output.is_file() or any(output.iterdir())):
        raise ArtifactError(
            "exists and holds no artifact; it is left alone", where=str(output), hint="choose another folder with -o"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        if output.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
            output.rename(old / "artifact")
            fresh.rename(output)
            shutil.rmtree(old)
        else:
            fresh.rename(output)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
