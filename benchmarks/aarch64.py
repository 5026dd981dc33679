"""Executed instructions and cycles of AArch64, next to other runtimes, without a device.

    python benchmarks/aarch64.py [NETWORK ...] [--precision f32,int8,fp16] [--device raspberry-pi-4,raspberry-pi-5]
                                 [--against onnxruntime,ncnn,mnn,litert] [--only METHODS] [--fresh METHODS]

Our programs and the other runtimes' own wheels for AArch64 run under QEMU's user mode as on the processor of the
device, one thread, one image of 224x224. After one inference to get ready a plugin counts what the next two execute;
the smaller count is shown, and llvm-mca says how many cycles the core takes for these blocks when everything lies in
its first-level cache and no branch is guessed wrong. Nothing here was measured on silicon. What a runtime does with its
inputs and outputs counts. Outputs are compared.

f32: all run the same model. int8: ONNX Runtime runs the model that we run; the others run one of the same network that
MNN's and LiteRT's own quantisers made, and for ncnn, whose quantiser is in no package, arm64_int8/ncnn.py; the layers
that ncnn leaves in floats are in halves where the processor has them. fp16: each turns the floats into halves itself,
with arithmetic in halves; processors without it have no such table.

The first run makes a Debian for 64-bit ARM in Edgesmith's cache (450 MB). Each measurement is saved at once in
benchmarks/aarch64.json, and the same command goes on where it was interrupted; benchmarks/aarch64.md is drawn from it.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from arm64_root import Arm64Root

import edgesmith
from edgesmith import knobs, oracle
from edgesmith.atomic import write_file
from edgesmith.bench.converted import converted
from edgesmith.bench.installed import install
from edgesmith.bench.peers import Peer, known
from edgesmith.bench.suite import Entry
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.counting import count, count_inference
from edgesmith.counting.mca import cycles
from edgesmith.device import Artifact, Emulator
from edgesmith.errors import EdgesmithError
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType
from edgesmith.quantize import Settings
from edgesmith.target import cores, parse

FOLDER = Path(__file__).parent
DATA, TABLE = FOLDER / "aarch64.json", FOLDER / "aarch64.md"
NETWORKS = ("mobilenet-v1", "mobilenet-v2", "mobilenet-v3-small", "squeezenet-1.1", "resnet-18")
PRECISIONS = ("f32", "int8", "fp16")
DEVICES = ("raspberry-pi-4", "raspberry-pi-5")
PEERS = ("onnxruntime", "ncnn", "mnn", "litert")
OURS = "edgesmith"
WRONG = 1.0
"""An error from which on outputs are taken for wrong."""
SECONDS = 3600


@dataclass(frozen=True)
class Contender:
    """Another runtime at one precision.

    Args:
        peer: how it converts and runs models.
        changes: of the settings in the peer's file, by the name of the dictionary there.
        own_model: whether it makes its model from floats.
    """

    peer: Peer
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own_model: bool = False


@cache
def contenders(precision: str) -> dict[str, Contender]:
    """Those that have this precision, by name."""
    peers = known()
    if precision == "f32":
        return {name: Contender(peers[name]) for name in PEERS}
    if precision == "fp16":
        halves = dict.fromkeys(("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"), True)
        changes = {"ncnn": {"OPTIONS": halves}, "mnn": {"CONFIGURATION": {"precision": "low"}}}
        return {name: Contender(peers[name], changed, own_model=True) for name, changed in changes.items()}
    converters = {n: peers[n].converter for n in ("mnn", "litert")}
    converters["ncnn"] = (peers["ncnn"].packages[0], *peers["ncnn"].converter)
    found = {"onnxruntime": Contender(peers["onnxruntime"])}
    for name, packages in converters.items():
        peer = replace(peers[name], file=FOLDER / f"arm64_int8/{name}.py", converter=packages)
        found[name] = Contender(peer, own_model=True)
    return found


class Subject:
    """A network at a precision, with inputs and what the reference makes of them."""

    def __init__(self, network: str, precision: str, folder: Path) -> None:
        self.network, self.precision = network, precision
        self.floats = folder / f"{network}-f32.onnx"
        self.path = folder / f"{network}-{precision}.onnx" if precision == "int8" else self.floats
        self._results: dict[Path, list[np.ndarray]] = {}
        for path, entry in ((self.floats, Entry(network)), (self.path, Entry(network, precision=precision))):
            if not path.is_file():
                onnx.save(entry.model(), path)

    @cached_property
    def feeds(self) -> dict[str, np.ndarray]:
        graph = read(self.floats)
        return dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))

    @cached_property
    def outputs(self) -> list[str]:
        return list(read(self.floats).outputs)

    def _expected(self, path: Path) -> list[np.ndarray]:
        if path not in self._results:
            self._results[path] = oracle.session(onnx.load(path), exact_sums=True).run(self.outputs, self.feeds)
        return self._results[path]

    def errors(self, results: Sequence[np.ndarray], *, own_model: bool) -> dict[str, float]:
        """Largest difference from ONNX Runtime on this machine, as a share of the largest value: from the same model,
        or from the floats where the model is one of the runtime's own."""
        name, path = ("from_floats", self.floats) if own_model else ("error", self.path)
        pairs = zip(results, self._expected(path), strict=True)
        return {name: max(float(np.abs(y.reshape(x.shape) - x).max() / np.abs(x).max()) for y, x in pairs)}


def ours(subject: Subject, device: str, tune: str, folder: Path) -> dict[str, Any]:
    """One measurement of our program."""
    place = folder / f"{subject.network}-{subject.precision}-{device}"
    is_half = subject.precision == "fp16"
    halves = {"precision": "fp16", "quantization": Settings("fp16", activations=DType.F16)} if is_half else {}
    artifact: Artifact = edgesmith.compile(subject.path, target=device, output=place, tune=tune, verify=False, **halves)
    target = parse(device)
    found = count_inference(artifact)
    results = Emulator.of(target).run(artifact, subject.feeds)
    again = sum(found.step_instructions(i) for i in range(len(found.steps)))
    return {
        "version": edgesmith.__version__,
        "tune": tune,
        "instructions": found.instructions,
        "again": again,
        "cycles": cycles(found.blocks, found.arch, target.core.model).total,
        **subject.errors(list(results.values()), own_model=is_half),
    }


def theirs(contender: Contender, subject: Subject, device: str, root: Arm64Root) -> dict[str, Any]:
    """One measurement of a peer."""
    target, peer = parse(device), contender.peer
    packages = [p for p in peer.packages if not p.startswith("--")]
    packages = packages or [f"onnxruntime=={onnxruntime.__version__}"]
    site = root.site(peer.name, [p for p in packages if not p.startswith("numpy")] + ["numpy==2.4.6"])
    path = subject.floats if contender.own_model else subject.path
    model_folder = converted(peer, _converter(peer), path) if peer.converts else path.parent
    with tempfile.TemporaryDirectory(prefix="edgesmith-aarch64-") as temporary:
        feeds, results = Path(temporary) / "feeds.npz", Path(temporary) / "results.npz"
        np.savez(feeds, **subject.feeds)
        words = [root.python(target.cpu), str(FOLDER / "arm64_peer.py"), str(peer.file), json.dumps(contender.changes)]
        words += [str(path), str(model_folder), str(feeds), ",".join(subject.outputs), str(results)]
        variables = {
            "PYTHONPATH": str(site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        # The interpreter of QEMU's own machine reads variables of the same names.
        command = root.command(target.cpu)
        command += [w for name, value in variables.items() for w in ("-E", f"{name}={value}")]
        counts, said = count(command, words, "aarch64", timeout_s=SECONDS)
        with np.load(results) as arrays:
            errors = subject.errors([arrays[name] for name in arrays.files], own_model=contender.own_model)
    settings = json.loads(said.strip().splitlines()[-1])
    fewest = min((1, 2), key=counts.instructions)
    return {
        "version": settings["version"],
        "settings": settings,
        "instructions": counts.instructions(fewest),
        "again": counts.instructions(3 - fewest),
        "cycles": cycles(counts.of(fewest), "aarch64", target.core.model).total,
        **errors,
    }


@cache
def _converter(peer: Peer) -> Any:
    found = install([peer], print)
    if found.absent:
        raise SystemExit(f"{peer.name}: {found.absent[peer.name]}")
    return found


def table(data: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# AArch64 without a device", "", *(__doc__ or "").split("\n\n")[2].splitlines(), ""]
    lines += [*(__doc__ or "").split("\n\n")[3].splitlines(), ""]
    lines += [
        "Each cell: millions of instructions of one inference / millions of cycles by llvm-mca; in bold the fewest.",
        "'Ratio' is ours over the best of the others whose outputs are right.",
        "",
    ]
    for precision in PRECISIONS:
        for device in DEVICES:
            core = cores()[parse(device).cpu]
            rows = list(_rows(data, precision, device))
            if not rows:
                continue
            methods = [OURS, *(p for p in PEERS if any(p in r[1] for r in rows))]
            lines += [f"## {precision}, {core.title} (`{device}`)", ""]
            lines += ["| network | " + " | ".join(methods) + " | ratio of instructions | ratio of cycles |"]
            lines += ["|---|" + "---:|" * (len(methods) + 2)]
            ratios: dict[str, list[float]] = {"instructions": [], "cycles": []}
            for network, found in rows:
                cells = [_cell(found, m) for m in methods]
                shares = []
                for what, all_of_one in ratios.items():
                    others = [found[p][what] for p in methods[1:] if _is_right(found.get(p, {}))]
                    if others and what in found.get(OURS, {}):
                        all_of_one.append(found[OURS][what] / min(others))
                        shares.append(f"{all_of_one[-1]:.2f}")
                    else:
                        shares.append("")
                lines.append(f"| {network} | " + " | ".join([*cells, *shares]) + " |")
            if all(ratios.values()):
                means = [f"**{math.exp(sum(map(math.log, r)) / len(r)):.2f}**" for r in ratios.values()]
                lines.append("| geometric mean | " + " | ".join([""] * len(methods) + means) + " |")
            lines.append("")
    lines += [
        "## Agreement",
        "",
        "Largest difference from ONNX Runtime on x86-64, as a share of the largest output: from the same model, or",
        "from that in f32 where the runtime's model is its own. For int8 it is told not to saturate",
        "(`session.x64quantprecision`), as it does by default without VNNI.",
        "",
        "| | runtime | same model | floats |",
        "|---|---|---:|---:|",
    ]
    for key, found in sorted(data.items()):
        for method, result in found.items():
            cells = [f"{result[n]:.1e}" if n in result else "" for n in ("error", "from_floats")]
            lines.append(f"| {key} | {method} | {result.get('failed') or ' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _rows(data: Mapping[str, Any], precision: str, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for network in NETWORKS:
        found = data.get(f"{network} {precision} {device}")
        if found:
            yield network, found


def _is_right(result: Mapping[str, Any]) -> bool:
    return result.get("error", result.get("from_floats", WRONG)) < WRONG


def _cell(found: Mapping[str, Any], method: str) -> str:
    def text(what: str) -> str:
        value = found[method][what]
        best = min(r[what] for r in found.values() if _is_right(r))
        return f"**{value / 1e6:.1f}**" if value == best else f"{value / 1e6:.1f}"

    if method not in found:
        return ""
    if "instructions" not in found[method]:
        return "failed"
    if not _is_right(found[method]):
        return f"{found[method]['instructions'] / 1e6:.1f}, wrong outputs"
    return f"{text('instructions')} / {text('cycles')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--precision", default=",".join(PRECISIONS))
    parser.add_argument("--device", default=",".join(DEVICES))
    parser.add_argument("--against", default=",".join(PEERS))
    parser.add_argument("--tune", default="cached", choices=("off", "cached"))
    parser.add_argument("--fresh", default="", metavar="METHODS", help="measure these again: edgesmith, ncnn, ...")
    parser.add_argument("--only", default="", metavar="METHODS", help="measure nothing but these")
    options = parser.parse_args()
    data: dict[str, Any] = json.loads(DATA.read_text()) if DATA.is_file() else {}
    root = Arm64Root(knobs.CACHE_DIR() / "arm64")
    with tempfile.TemporaryDirectory(prefix="edgesmith-aarch64-") as temporary:
        folder = Path(temporary)
        for network in options.networks:
            for precision in options.precision.split(","):
                peers = [p for p in options.against.split(",") if p in contenders(precision)]
                devices = [d for d in options.device.split(",") if precision != "fp16" or "fp16" in parse(d).isas]
                keys = {device: f"{network} {precision} {device}" for device in devices}
                wanted = [
                    (device, method)
                    for device, key in keys.items()
                    for method in (OURS, *peers)
                    if not options.only or method in options.only.split(",")
                    if method in options.fresh.split(",") or "instructions" not in data.get(key, {}).get(method, {})
                ]
                subject = Subject(network, precision, folder) if wanted else None
                for device, method in wanted:
                    assert subject is not None
                    try:
                        if method == OURS:
                            result = ours(subject, device, options.tune, folder)
                        else:
                            result = theirs(contenders(precision)[method], subject, device, root)
                    except (EdgesmithError, subprocess.SubprocessError, RuntimeError) as error:
                        result = {"failed": str(error).splitlines()[0]}
                    print(keys[device], method, {k: v for k, v in result.items() if k != "settings"}, flush=True)
                    data.setdefault(keys[device], {})[method] = result
                    write_file(DATA, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())
                    write_file(TABLE, table(data).encode())
    write_file(TABLE, table(data).encode())


if __name__ == "__main__":
    main()
