"""Compile every test model for every architecture that is emulated here, run it there, and write a table.

    python benchmarks/emulated.py [MODEL ...] [--targets T ...] [--seconds 300] [--again] [-o benchmarks/emulated.json]

Floats are compared with ONNX Runtime, layer by layer, with the tolerances of this machine, also where they are compiled
to fp16; integers with the simulation of the graph, bit by bit. What takes longer than the limit is left out and named.
Results are written one by one: an interrupted run goes on where it stopped. The Markdown file beside the JSON file is
the table for reading.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import edgesmith
from edgesmith import api, zoo
from edgesmith.atomic import write_file
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import emulated
from edgesmith.device.wasm import WasmInstance
from edgesmith.errors import EdgesmithError, TargetError
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType
from edgesmith.passes import optimize
from edgesmith.quantize import Settings
from edgesmith.target import parse
from edgesmith.verify import wrong_integers
from edgesmith.version import __version__

MATERIAL = Path(__file__).parents[2] / "shared" / "material" / "models"
FLOATS = ("aarch64-linux-gnu+neon", "arm-linux-gnueabihf+neon32", "riscv64-linux-gnu+rvv128", "wasm32-wasi+simd128")
INTEGERS = (FLOATS[0], "aarch64-linux-gnu+dotprod", "aarch64-linux-gnu+i8mm", *FLOATS[1:])
"""Targets of models in floats, whose code is the same with products of bytes, and of models in integers."""
HALVES = "aarch64-linux-gnu+fp16"
"""Here models in floats are compiled to fp16, weights and activations."""


@dataclass(frozen=True)
class Model:
    """A model of the matrix.

    Args:
        name: in the table.
        make: gives it as ONNX.
        shapes: of inputs with dynamic dimensions.
        is_integer: whether it is quantised.
    """

    name: str
    make: Callable[[], onnx.ModelProto]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    is_integer: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        return INTEGERS if self.is_integer else (*FLOATS, HALVES)


def _shared(path: str, shapes: dict[str, tuple[int, ...]] | None = None, *, is_integer: bool = False) -> Model:
    return Model(path, lambda: onnx.load(MATERIAL / path), shapes or {}, is_integer)


def _zoo(name: str, **sizes: Any) -> list[Model]:
    """A network of the zoo in floats and in int8."""

    def quantized() -> onnx.ModelProto:
        return api.quantize(zoo.build(name, **sizes), "none", samples=2).model

    title = " ".join([name, *(f"{v}x{v}" for v in sizes.values())])
    return [Model(title, lambda: zoo.build(name, **sizes)), Model(f"{title}, int8", quantized, is_integer=True)]


MODELS = [
    _shared("kws/kws_ref_model_float32.tf2onnx.onnx", {"input_1": (1, 49, 10, 1)}),
    _shared("kws/kws_ref_model_int8.tf2onnx_qdq.onnx", {"input_1": (1, 49, 10, 1)}, is_integer=True),
    _shared("kws_qdq/micro_kws_m_static_fp32.onnx"),
    _shared("kws_qdq/micro_kws_m_static_qdq.onnx", {"serving_default_input:0": (1, 1960)}, is_integer=True),
    *_zoo("lenet-5"),
    *_zoo("mobilenet-v2", image_size=32),
    *_zoo("mobilenet-v3-small", image_size=64),
    *_zoo("squeezenet-1.1", image_size=64),
    *_zoo("shufflenet-v2-1.0", image_size=32),
    _shared("imagenet/mobilenet_v1_0.25_224_float.tf2onnx.onnx"),
    _shared("face/version-RFB-320_simplified.onnx"),
    _shared("face/version-RFB-320.onnx"),
    *_zoo("mobilenet-v1", image_size=64),
    *_zoo("resnet-18", image_size=64),
    *_zoo("efficientnet-b0", image_size=32),
    _shared("imagenet/SqueezeNet_fp16.onnx"),
    _shared("imagenet/SqueezeNet_fp32_from_fp16.onnx"),
    _shared("transformer/stories260K_T64.onnx"),
    _shared("rnn/dtln_model_1.onnx"),
    _shared("rnn/dtln_model_2.onnx"),
    _shared("super_resolution/super_resolution.onnx", {"input": (1, 1, 224, 224)}),
]
"""Small ones first."""


def measure(path: Path, model: Model, target: str, folder: Path) -> dict[str, Any]:
    """What one program does on its emulator."""
    began = time.perf_counter()
    halves = {"precision": "fp16", "quantization": Settings("fp16", activations=DType.F16)} if target == HALVES else {}
    artifact = edgesmith.compile(
        path, target=target, output=folder / "out", shapes=model.shapes, tune="off", cache=False, name="net", **halves
    )
    compiled = artifact.verification or {}
    ratios = [o["ratio"] for o in compiled["outputs"]]
    found = {
        "ok": compiled["ok"],
        "device": compiled["device"],
        "layers": len(compiled["layers"]),
        "error_over_tolerance": max(ratios, default=0.0),
    }
    device = emulated(artifact.target)
    feeds = dict(zip(artifact.inputs, selftest_inputs(list(artifact.inputs.values())), strict=True))
    if model.is_integer:
        graph, _ = optimize(read(path, shapes=model.shapes))
        rng = np.random.default_rng(11)
        feeds = {v: rng.standard_normal(graph.type(v).shape).astype(graph.type(v).dtype.numpy) for v in graph.inputs}
        instance = device.open(artifact)
        assert instance is not None
        with instance:
            wrong, compared = wrong_integers(artifact, graph, feeds, instance)
        found |= {"integers": compared, "wrong_integers": sum(wrong.values())}
        found["ok"] = found["ok"] and not wrong and compared > 0
    if artifact.target.arch == "wasm32":
        with WasmInstance(artifact, counts=True) as counted:
            counted.bind(list(feeds.values()))
            before = counted.executed
            counted.run_steps(0, counted.steps)
            found["executed"] = counted.executed - before
    return {**found, "seconds": round(time.perf_counter() - began, 1)}


def _measured(path: Path, model: Model, target: str, place: Path) -> None:
    """In a process of its own: ``measure`` into a file."""
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        try:
            found = measure(path, model, target, Path(folder))
        except EdgesmithError as error:
            found = {"ok": False, "why": str(error).splitlines()[0]}
    write_file(place, json.dumps(found).encode())


def limited(path: Path, model: Model, target: str, seconds: float) -> dict[str, Any]:
    """``measure``, or why it was left out."""
    try:
        emulated(parse(target))
    except TargetError as error:
        return {"ok": None, "why": str(error)}
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        place = Path(folder) / "found.json"
        process = multiprocessing.Process(target=_measured, args=(path, model, target, place))
        process.start()
        try:
            process.join(seconds)
        finally:
            late = process.is_alive()
            process.terminate()
            process.join()
        if late:
            return {"ok": None, "why": f"takes longer than {seconds:g} s"}
        if not place.is_file():
            return {"ok": False, "why": f"ended with status {process.exitcode}"}
        return dict(json.loads(place.read_text()))


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if found["ok"] is None:
        return "left out"
    if "why" in found:
        return "refused"
    if "wrong_integers" in found and found["ok"]:
        return f"exact, {found['integers']:,}"
    return f"{found['error_over_tolerance']:.3f}" if found["ok"] else "**wrong**"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row for each model, a column for each target."""
    columns = [*INTEGERS, HALVES]
    lines = [
        "# Test models on emulated processors",
        "",
        "Floats: largest error of the outputs over its tolerance; every layer is within its own. In the column fp16",
        "they are compiled to that. Integers: how many were compared bit by bit with the simulation.",
        f"Edgesmith {__version__}.",
        "",
        "| model | " + " | ".join(c.partition("+")[2] for c in columns) + " | executed (wasm) |",
        "|---|" + "---|" * len(columns) + "---:|",
    ]
    for name, found in results.items():
        executed = found.get(FLOATS[-1], {}).get("executed")
        cells = [*(_cell(found.get(c)) for c in columns), f"{executed / 1e6:.1f} M" if executed else ""]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    reasons = [
        f"- {name}, {target}: {r['why']}"
        for name, found in results.items()
        for target, r in found.items()
        if "why" in r
    ]
    return "\n".join([*lines, *(["", *reasons] if reasons else []), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="words of their names (default: all)")
    parser.add_argument("--targets", nargs="+", help="default: those that suit each model")
    parser.add_argument("--seconds", type=float, default=300.0, help="most for one model on one target")
    parser.add_argument("--again", action="store_true", help="also what the JSON file has")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    chosen = [m for m in MODELS if not options.models or any(word in m.name for word in options.models)]
    if not chosen:
        parser.error(f"no model is called {' or '.join(options.models)}; known: {', '.join(m.name for m in MODELS)}")
    try:
        for target in options.targets or ():
            parse(target)
    except TargetError as error:
        parser.error(str(error))
    results: dict[str, dict[str, Any]] = json.loads(options.output.read_text()) if options.output.is_file() else {}
    jobs = [(m, t) for m in chosen for t in options.targets or m.targets]
    known = {(name, t) for name, found in results.items() for t, r in found.items() if r["ok"] is not False}
    todo = [(m, t) for m, t in jobs if options.again or (m.name, t) not in known]
    print(f"{len(todo)} programs, {len(jobs) - len(todo)} known already", flush=True)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        path = Path(folder) / "model.onnx"
        made = None
        for number, (model, target) in enumerate(todo, 1):
            print(f"{number}/{len(todo)} {model.name}: {target}", end=" ", flush=True)
            if made is not model:
                onnx.save(model.make(), path)
                made = model
            found = limited(path, model, target, options.seconds)
            print(_cell(found), found.get("seconds", ""), flush=True)
            results.setdefault(model.name, {})[target] = found
            ordered = {m.name: results[m.name] for m in MODELS if m.name in results}
            write_file(options.output, (json.dumps(ordered, indent=1) + "\n").encode())
            write_file(options.output.with_suffix(".md"), table(ordered).encode())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; the same command goes on from here") from None
