"""Quantise every network by every method and compare what they decide; write data and table.

    python -m benchmarks.accuracy.table [--material FOLDER] [--cases NAME;...] [--methods NAME;...] [--fresh]
        [-o benchmarks/accuracy.json]

Train the networks first (python -m benchmarks.accuracy.train). Each result is saved when it is there; after an
interruption the same command goes on. --fresh does what is named anew. NAME is a name or its beginning. Each method
quantises in a process and, where it needs other packages, in a virtual environment of its own; so does each evaluation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx import numpy_helper

import edgesmith
from edgesmith.bench.environment import environment
from edgesmith.bench.virtualenv import python_with
from edgesmith.bench.worker import Worker
from edgesmith.cli.progress import Activity, activity
from edgesmith.errors import EdgesmithError
from edgesmith.frontend.normalize import normalize
from edgesmith.knobs import CACHE_DIR

from .cases import CASES, Case
from .methods import FLOAT, Method, known
from .processes import follow
from .results import Results, Row, judged
from .train import MATERIAL

OUTPUT = Path("benchmarks/accuracy.json")
REFERENCE = "float, ONNX Runtime"
_PATH = re.compile(r"(?<!\S)(/[^\s/]+)+/")
"""Folders of this machine, which mean nothing to others."""


class Comparison:
    """The files of one case: ``<cache>/accuracy/table/<case>/<method>/``.

    Args:
        case: what is compared.
        material: folder of the material.
        show: is told what begins.
    """

    def __init__(self, case: Case, material: Path, show: Activity) -> None:
        self.case, self.material, self.show = case, material, show
        self.folder = CACHE_DIR() / "accuracy" / "table" / _slug(case.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        source = case.model(material)
        self.digest = hashlib.sha256(source.read_bytes()).hexdigest()
        self.float_model = self.folder / "float.onnx"
        onnx.save(float_model(source, case.shape), self.float_model)

    def row(self, method: Method) -> Row:
        """Quantise, evaluate and judge. What fails is a row too, with the reason."""
        row: Row = {"case": self.case.name, "method": method.name, "width": method.width, "digest": self.digest}
        began = time.monotonic()
        try:
            model = self.quantised(method)
            found, reference = self.outputs(method, model), self.reference()
        except EdgesmithError as error:
            return {**row, "failed": _PATH.sub("", " ".join(error.why.split()))}
        row |= {"seconds": round(time.monotonic() - began, 1), "bytes": model.stat().st_size}
        if method.engine == "edgesmith":
            row["revision"] = revision()
        layers = self._of(method) / "layers.json"
        if layers.is_file():
            row["layers_sqnr_db"] = json.loads(layers.read_text())
        return row | judged(self.case, self.case.test(self.material), found, reference)

    def reference(self) -> dict[str, np.ndarray]:
        """The outputs of the float model, kept from run to run."""
        method = known()[REFERENCE]
        kept = self.folder / f"reference-{self.digest[:12]}.npz"
        if not kept.is_file():
            self.outputs(method, self.float_model)
            (self.folder / _slug(method.name) / "outputs.npz").replace(kept)
        with np.load(kept) as data:
            return dict(data)

    def quantised(self, method: Method) -> Path:
        """The method's model."""
        folder = self._of(method)
        self.show.say(f"{self.case.name}: {method.name} quantises")
        if method.width != FLOAT:
            samples = np.concatenate(list(self.case.calibration(self.material).read()))
            np.save(folder / "calibration.npy", samples)
        (folder / "options.json").write_text(json.dumps(dict(method.options)))
        python = python_with(method.file.stem, method.packages)
        with Worker(python, method.file, method.name) as worker:
            worker.convert(self.float_model, folder)
        (folder / "calibration.npy").unlink(missing_ok=True)
        return folder / "model.onnx"

    def outputs(self, method: Method, model: Path) -> dict[str, np.ndarray]:
        """The outputs of the method's model for all test samples."""
        folder = self._of(method)
        task = {
            "case": self.case.name,
            "engine": method.engine,
            "model": str(model),
            "material": str(self.material),
            "outputs": str(folder / "outputs.npz"),
        }
        (folder / "task.json").write_text(json.dumps(task))
        text = f"{self.case.name}: {method.name} runs"

        def heard(line: dict[str, Any]) -> None:
            self.show.pieces(text, line["done"], line["total"])

        self.show.say(text)
        command = [sys.executable, "-m", "benchmarks.accuracy.evaluate", str(folder / "task.json")]
        follow(command, folder / "log.txt", heard)
        with np.load(folder / "outputs.npz") as data:
            return dict(data)

    def _of(self, method: Method) -> Path:
        folder = self.folder / _slug(method.name)
        folder.mkdir(exist_ok=True)
        return folder


def float_model(source: Path, shape: Sequence[int]) -> onnx.ModelProto:
    """What every method gets: the model in one opset, the shape of its one input static, all weights in floats."""
    name = onnx.load(source, load_external_data=False).graph.input[0].name
    model = normalize(source, shapes={name: shape})
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "DequantizeLinear" and weights.keys() >= set(n.input)]:
        known_values = {i: numpy_helper.to_array(weights[i]) for i in node.input}
        (floats,) = onnx.reference.ReferenceEvaluator(node).run(None, known_values)
        model.graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
        model.graph.node.remove(node)
    return model


def revision() -> str:
    """The last change of the package, as Git names it."""
    command = ["git", "log", "-1", "--format=%h", "--", str(Path(edgesmith.__file__).parent)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def named(beginnings: str | None, names: Iterable[str], what: str) -> list[str]:
    """The names in a list with semicolons, or those that begin like it; all when nothing is said.

    Raises:
        EdgesmithError: one of them begins no name.
    """
    names = list(names)
    found: set[str] = set()
    for wanted in filter(None, map(str.strip, (beginnings or "").split(";"))):
        hits = [wanted] if wanted in names else [n for n in names if n.startswith(wanted)]
        if not hits:
            raise EdgesmithError(f"no such {what}", where=wanted, hint="; ".join(names))
        found.update(hits)
    return [n for n in names if not beginnings or n in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, default=MATERIAL)
    parser.add_argument("--cases", help="beginnings of names, with semicolons between (default: all)")
    parser.add_argument("--methods", help="likewise")
    parser.add_argument("--fresh", action="store_true", help="do what is named anew")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    cases, methods = {c.name: c for c in CASES}, known()
    facts = {
        "command": "python -m benchmarks.accuracy.table",
        "environment": environment(),
        "methods": {m.name: m.settings for m in methods.values()},
        "data": {c.name: c.data for c in CASES},
    }
    try:
        wanted = [
            (c, m) for c in named(options.cases, cases, "case") for m in named(options.methods, methods, "method")
        ]
        results = Results(options.output)
        with activity() as show:
            comparison: Comparison | None = None
            for i, (case, method) in enumerate(wanted):
                show.whole("results", i, len(wanted))
                if comparison is None or comparison.case.name != case:
                    comparison = Comparison(cases[case], options.material, show)
                if options.fresh or results.find(case, method, comparison.digest) is None:
                    row = comparison.row(methods[method])
                    results.add(row, facts, list(cases), list(methods))
                    show.print(f"{case}: {method}: {row.get('failed') or _summary(row)}")
            show.whole("results", len(wanted), len(wanted))
    except EdgesmithError as error:
        sys.exit(str(error))


def _summary(row: Row) -> str:
    accuracy = f"accuracy {row['accuracy']['value']:.2%}, " if "accuracy" in row else ""
    return f"{accuracy}as float {row['same']['value']:.2%}, {row['seconds']:.0f} s"


if __name__ == "__main__":
    main()
