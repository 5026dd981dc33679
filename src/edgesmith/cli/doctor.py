"""``edgesmith doctor``: whether everything that is needed works."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from onnx import TensorProto, helper

from edgesmith import api, knobs
from edgesmith.bench.environment import available_cores, environment
from edgesmith.cli.cache import cache_bytes
from edgesmith.cli.console import console, error_console, figures, print_json
from edgesmith.errors import EdgesmithError
from edgesmith.kernels import KERNELS
from edgesmith.ops import OPS
from edgesmith.report.units import nbytes
from edgesmith.target import absent, parse


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check that everything Edgesmith needs works here: compiles a tiny model, runs it, compares the result.

    Prints versions, the processor, where the cache is and what the environment variables are set to: the lines to put
    into a bug report. Exit status 1 when a check fails.

    \b
    Example:
      edgesmith doctor
    """
    with error_console().status("checking"):
        checks = {"compile and run": _compile_and_run(), "cache folder is writable": _writable(knobs.CACHE_DIR())}
    found = environment()
    cache = knobs.CACHE_DIR()
    settings = {k.name: str(k()) for k in knobs.KNOBS if k.name in os.environ}
    if as_json:
        target = {"target": str(parse("native")), "absent": absent()}
        print_json({"checks": checks, "environment": found, **target, "settings": settings})
    else:
        rows = [
            ("processor", f"{found['processor']}, {available_cores()} cores"),
            ("system", found["system"]),
            ("native target", str(parse("native"))),
            *(("" if i else "without", f"{name}: {why}") for i, (name, why) in enumerate(absent().items())),
            ("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())),
            ("operators", f"{len(OPS)}; kernels: {', '.join(KERNELS)}"),
            ("cache", f"{cache}, {nbytes(cache_bytes(cache))}"),
            ("settings", ", ".join(f"{k}={v}" for k, v in settings.items()) or "all at their defaults"),
            *(
                (name, f"[green]✓[/green] {text}" if ok else f"[red]✗[/red] {text}")
                for name, (ok, text) in checks.items()
            ),
        ]
        console().print(figures(rows))
    if not all(ok for ok, _ in checks.values()):
        raise typer.Exit(1)


def _compile_and_run() -> tuple[bool, str]:
    """A Relu through the whole pipeline, its result compared with numpy's."""
    value = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 37]) for n in "xy"}
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "doctor", [value["x"]], [value["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.linspace(-1, 1, 37, dtype=np.float32)[None]
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            result = np.asarray(api.compile(model, output=Path(folder) / "doctor")(x))
    except EdgesmithError as error:
        return False, str(error)
    if not np.array_equal(result, np.maximum(x, 0)):
        return False, "the compiled program computes something else"
    return True, f"{time.perf_counter() - start:.1f} s"


def _writable(folder: Path) -> tuple[bool, str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return True, str(folder)
    except OSError as error:
        return False, f"{folder}: {error.strerror}; set {knobs.CACHE_DIR.name}"
