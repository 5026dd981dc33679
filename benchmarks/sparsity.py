"""What zeros in the weights of pointwise convolutions save: time and storage, by pattern and density, on one thread.

    python benchmarks/sparsity.py [--rounds N] [--budget SECONDS] [--artifacts FOLDER] [--again] [-o FILE.json]

Layers of MobileNetV1 and V2 at 224x224 and of small networks for 28x28 pictures, with Relu. Each pattern's weights are
random; the kernels that accept them race with the schedules that they predict to be best, by the timer of the tuner
(inputs in the inner caches, weights farther out). Then the winners of all patterns of a layer, dense ones among them,
take turns: of each turn the shortest of three runs counts, of all turns the median, and of their ratios to the dense
one. In the end one whole network, pruned in blocks, dense and sparse, next to ONNX Runtime. The JSON file is written
after each part; what it has is not measured again unless ``--again`` says so.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import edgesmith
from edgesmith import zoo
from edgesmith.atomic import write_file
from edgesmith.bench.environment import environment
from edgesmith.bench.timing import Timer, interleaved
from edgesmith.codegen.encoding import encode
from edgesmith.codegen.sparse_encoding import encode_sparse
from edgesmith.ir import DType, Graph, Node, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.ops import OPS
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window
from edgesmith.plan.layout import channels_last
from edgesmith.target import parse, this_processor
from edgesmith.toolchain import zig
from edgesmith.tune.timer import Times, TrialTimer, inputs
from edgesmith.tune.trial import Trial, TrialLibrary

DENSE = "gemm"
RACING = (DENSE, "sparse-blocks", "sparse-elements")
SCHEDULES = 4
RUNS = 3
"""Of which the shortest is the time of a round: others use the machine, too."""
BLOCK = 16
DENSITIES = (0.75, 0.5, 0.25, 0.1)
NETWORK, NETWORK_DENSITY = "mobilenet-v1", 0.25


@dataclass(frozen=True)
class Layer:
    """A pointwise convolution.

    Args:
        of: the network.
    """

    of: str
    channels: int
    filters: int
    extent: int

    def __str__(self) -> str:
        return f"{self.channels} -> {self.filters} @ {self.extent}x{self.extent}"


LAYERS = (
    Layer("MobileNetV2", 24, 144, 56),
    Layer("MobileNetV2", 144, 24, 56),
    Layer("MobileNetV2", 32, 192, 28),
    Layer("MobileNetV2", 64, 384, 14),
    Layer("MobileNetV2", 384, 64, 14),
    Layer("MobileNetV2", 160, 960, 7),
    Layer("MobileNetV2", 960, 320, 7),
    Layer("MobileNetV1", 256, 256, 28),
    Layer("MobileNetV1", 512, 512, 14),
    Layer("28x28 pictures", 32, 64, 14),
    Layer("28x28 pictures", 64, 128, 7),
    Layer("28x28 pictures", 128, 128, 7),
)


@dataclass(frozen=True)
class Pattern:
    """Which weights are kept.

    Args:
        kind: ``dense``, ``blocks`` (of 16 filters by one channel), ``unstructured``, or N:M along the channels.
    """

    kind: str
    density: float

    def __str__(self) -> str:
        return self.kind if self.kind == "dense" else f"{self.kind} {self.density}"

    def kept(self, filters: int, channels: int) -> np.ndarray:
        """A mask (filters, channels)."""
        rng = np.random.default_rng(1)
        if self.kind == "dense":
            return np.ones((filters, channels), bool)
        if self.kind == "unstructured":
            order = rng.permutation(filters * channels).reshape(filters, channels)
            return np.asarray(order < round(self.density * order.size))
        if self.kind == "blocks":
            order = rng.permuted(np.tile(np.arange(channels), (-(-filters // BLOCK), 1)), axis=1)
            return np.asarray((order < max(1, round(self.density * channels))).repeat(BLOCK, axis=0)[:filters])
        taken, size = map(int, self.kind.split(":"))
        order = rng.permuted(np.tile(np.arange(size), (filters * channels // size, 1)), axis=1)
        return np.asarray((order < taken).reshape(filters, channels))


PATTERNS = (
    Pattern("dense", 1.0),
    *(Pattern("blocks", d) for d in DENSITIES),
    *(Pattern("unstructured", d) for d in DENSITIES),
    Pattern("2:4", 0.5),
    Pattern("1:4", 0.25),
)


def problem(layer: Layer, pattern: Pattern) -> Problem:
    rng = np.random.default_rng(0)
    shape = (layer.filters, layer.channels)
    weights = np.where(pattern.kept(*shape), rng.standard_normal(shape), 0).astype(np.float32)[:, :, None, None]
    constants = {"w": weights, "b": rng.standard_normal(layer.filters).astype(np.float32)}
    x = TensorType((1, layer.channels, layer.extent, layer.extent), DType.F32)
    y = TensorType((1, layer.filters, layer.extent, layer.extent), DType.F32)
    types = {"x": x, "v": y, "y": y, **{k: TensorType.of(c) for k, c in constants.items()}}
    conv = Node("conv", Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), 1), ("x", "w", "b"), ("v",))
    graph = Graph(("x",), ("y",), (conv, Node("relu", OPS["Relu"](), ("v",), ("y",))), types, constants)
    graph.check()
    places = {v: Place(v, View.dense(t, channels_last(t.rank))) for v, t in types.items()}
    return Problem(graph, list(KERNELS[DENSE].regions(graph, conv))[-1], places, parse("native"))


def candidates(p: Problem) -> Iterator[Trial]:
    for name in RACING:
        if KERNELS[name].accepts(p) is None:
            best = sorted(KERNELS[name].schedules(p), key=partial(KERNELS[name].cost, p))
            yield from (Trial(p, KERNELS[name], s) for s in best[:SCHEDULES])


def stored_bytes(trial: Trial) -> int:
    """What a program stores of the constants."""
    total = 0
    for array in trial.code.constants:
        short = encode(array)
        nbytes = array.nbytes if short is None else short.data.nbytes
        runs = encode_sparse(array, nbytes)
        total += sum(r.data.nbytes for r in runs) if runs else nbytes
    return total


def measure(layer: Layer, rounds: int) -> dict[str, Any]:
    """Every pattern of a layer."""
    target = parse("native")
    race = TrialTimer(target, zig(), this_processor())
    groups = [list(candidates(problem(layer, pattern))) for pattern in PATTERNS]
    best: dict[tuple[str, str], Trial] = {}
    for pattern, group, outcomes in zip(PATTERNS, groups, race.time(groups), strict=True):
        timed = [(o.least, i) for i, o in enumerate(outcomes) if isinstance(o, Times)]
        for _, i in sorted(timed):
            best.setdefault((str(pattern), group[i].kernel.name), group[i])
    library = TrialLibrary(list(best.values()), target)
    calls = [library.call(i, inputs(t.problem)) for i, t in enumerate(best.values())]
    other = np.ones(2 * target.l2_bytes, np.uint8)
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, taken, strict=True):
            times.append(min(library.time_in_network_ns(call, other) for _ in range(RUNS)))
    dense = np.array(taken[list(best).index(("dense", DENSE))])
    found: dict[str, Any] = {str(p): {"density": p.density, "kernels": {}} for p in PATTERNS}
    for (pattern, name), trial, times in zip(best, best.values(), taken, strict=True):
        found[pattern]["kernels"][name] = {
            "us": float(np.median(times)) / 1e3,
            "least_us": min(times) / 1e3,
            "times_as_fast": float(np.median(dense / np.array(times))),
            "predicted_us": trial.kernel.cost(trial.problem, trial.schedule) / 1e3,
            "schedule": dict(trial.schedule),
            "stored_bytes": stored_bytes(trial),
        }
    return {**asdict(layer), "patterns": found}


FORMS = ("f32", "fp16", "8 bits", "4 bits")


def storage() -> dict[str, dict[str, float]]:
    """Bits of storage a weight, by pattern and form of the values, packed as the dense kernel reads them."""
    layer, found = Layer("", 512, 512, 14), {}
    for pattern in PATTERNS:
        p = problem(layer, pattern)
        (packed, *_) = Trial(p, KERNELS[DENSE], KERNELS[DENSE].schedules(p)[0]).code.constants
        kept = packed != 0
        rng = np.random.default_rng(2)
        forms = {
            "f32": packed,
            "fp16": packed.astype(np.float16).astype(np.float32),
            "8 bits": np.where(kept, rng.integers(16, 127, packed.size), 0).astype(np.int8),
            "4 bits": np.where(kept, rng.integers(1, 8, packed.size), 0).astype(np.int8),
        }
        found[str(pattern)] = {}
        for name, array in forms.items():
            short = encode(array)
            nbytes = array.nbytes if short is None else short.data.nbytes
            runs = encode_sparse(array, nbytes)
            found[str(pattern)][name] = 8 * (sum(r.data.nbytes for r in runs) if runs else nbytes) / array.size
    return found


def pruned(model: onnx.ModelProto, density: float) -> onnx.ModelProto:
    """The blocks of 16 filters by one channel with the largest norms stay in every 1x1 convolution."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    arrays = {i.name: i for i in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type != "Conv" or arrays[node.input[1]].dims[2:] != [1, 1]:
            continue
        weights = numpy_helper.to_array(arrays[node.input[1]]).copy()
        for first in range(0, len(weights), BLOCK):
            norms = np.square(weights[first : first + BLOCK, :, 0, 0]).sum(axis=0)
            weights[first : first + BLOCK, np.argsort(-norms, kind="stable")[max(1, round(density * norms.size)) :]] = 0
        arrays[node.input[1]].CopyFrom(numpy_helper.from_array(weights, node.input[1]))
    return made


def processor_timer(call: Callable[[], object]) -> Timer:
    """Times the processor that this thread gets for a call: others may use the machine."""

    def once() -> float:
        start = time.thread_time_ns()
        call()
        return float(time.thread_time_ns() - start)

    return lambda count: [once() for _ in range(count)]


def network(folder: Path, rounds: int, budget: float) -> dict[str, Any]:
    """The whole network: dense, pruned, and pruned but without the kernels that skip zeros.

    Args:
        folder: where the artifacts are, or will be.
    """
    dense = zoo.build(NETWORK)
    sparse = pruned(dense, NETWORK_DENSITY)
    folder.mkdir(exist_ok=True, parents=True)
    work, figures = {}, {}
    for name, model, forbid in (
        ("dense", dense, ()),
        ("sparse", sparse, ()),
        ("sparse, only stored so", sparse, RACING[1:]),
    ):
        path = folder / name.replace(", ", "-").replace(" ", "-")
        if not path.exists():
            edgesmith.compile(
                model, output=path, name="net", tune="full", budget_seconds=budget, forbid=forbid, cache=False
            )
        artifact = edgesmith.load(path)
        x = np.random.default_rng(0).standard_normal(artifact.inputs["input"].shape).astype(np.float32)
        outputs = [np.empty(t.shape, t.dtype.numpy) for t in artifact.outputs.values()]
        work[name] = processor_timer(partial(artifact.context().run, [x], outputs))
        memory = artifact.manifest["memory"]
        kernels = [s["kernel"] for s in artifact.manifest["steps"]]
        figures[name] = {
            "weights_bytes": memory["weights_bytes"],
            "prepared_bytes": memory["prepared_bytes"],
            "library_bytes": artifact.library.stat().st_size,
            "kernels": {k: kernels.count(k) for k in dict.fromkeys(kernels)},
        }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, model in (("ONNX Runtime, dense", dense), ("ONNX Runtime, sparse", sparse)):
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        work[name] = processor_timer(partial(session.run, None, {"input": x}))
        figures[name] = {}
    times = interleaved(work, rounds)
    for name, t in times.items():
        ratio = 1 / t.over(times["dense"])
        figures[name] |= {"ms": t.median / 1e6, "least_ms": t.least / 1e6, "spread": t.spread, "ratio": ratio}
    return {"network": NETWORK, "density": NETWORK_DENSITY, "load": environment()["load"], "runs": figures}


def report(data: dict[str, Any]) -> str:
    lines = ["# Zeros in weights", "", f"`{data['command']}`, one thread.", ""]
    lines += [
        "Microseconds of a 1x1 convolution with Relu as it stands in a network, and how many times as fast that is as",
        "the dense product (in bold where it is faster). N:M is computed by the kernel for single weights, if any.",
        "",
    ]
    head = ["layer", "MACs (M)", *map(str, PATTERNS)]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for layer in data["layers"]:
        macs = layer["channels"] * layer["filters"] * layer["extent"] ** 2 / 1e6
        cells = [str(Layer(*(layer[k] for k in ("of", "channels", "filters", "extent")))), f"{macs:.1f}"]
        for pattern in map(str, PATTERNS):
            found = layer["patterns"][pattern]["kernels"]
            sparse = [k for n, k in found.items() if n != DENSE]
            best = min(sparse or found.values(), key=lambda k: float(k["us"]))
            ratio = f"{best['times_as_fast']:.2f}"
            ratio = f"**{ratio}**" if best["times_as_fast"] > 1 else ratio
            cells.append(f"{best['us']:.1f}" + (f" ({ratio})" if sparse else ""))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Bytes that are stored of the constants (kB), by the kernel that is faster there.", ""]
    lines += [f"| {' | '.join(['layer', *map(str, PATTERNS)])} |", f"|{'---|' * (1 + len(PATTERNS))}"]
    for layer in data["layers"]:
        cells = [str(Layer(*(layer[k] for k in ("of", "channels", "filters", "extent"))))]
        for pattern in map(str, PATTERNS):
            fastest = min(layer["patterns"][pattern]["kernels"].values(), key=lambda k: k["us"])
            cells.append(f"{fastest['stored_bytes'] / 1e3:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Bits of storage a weight of 512 -> 512, for kernels that read all of them from prepared memory.", ""]
    lines += [f"| {' | '.join(['values', *map(str, PATTERNS)])} |", f"|{'---|' * (1 + len(PATTERNS))}"]
    for form in FORMS:
        bits = [f"{data['storage'][str(p)][form]:.2f}" for p in PATTERNS]
        lines.append(f"| {form} | {' | '.join(bits)} |")
    whole = data.get("network")
    if whole:
        share = f"{whole['density']:.0%}"
        lines += [
            "",
            f"zoo:{whole['network']}, tuned, 1x1 convolutions pruned to {share} in blocks of 16x1; the thread's",
            "processor time, which others that use the machine do not add to:",
            "",
        ]
        lines += [
            "| | ms, median | ms, least | times as fast as dense | weights (kB) | prepared (kB) | library (kB) |",
            f"|{'---|' * 7}",
        ]
        for name, run in whole["runs"].items():
            sizes = [f"{run[k] / 1e3:.0f}" if k in run else "" for k in BYTES]
            lines.append(
                f"| {name} | {run['ms']:.2f} | {run['least_ms']:.2f} | {run['ratio']:.2f} | {' | '.join(sizes)} |"
            )
    machine = data["environment"]
    facts = "; ".join(f"{k}: {v}" for k, v in machine.items() if isinstance(v, str | int | float))
    return "\n".join([*lines, "", f"Machine: {facts}."]) + "\n"


BYTES = ("weights_bytes", "prepared_bytes", "library_bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of tuning for each form of the network")
    parser.add_argument("--artifacts", type=Path, help="keep those of the network, and take those that are there")
    parser.add_argument("--again", action="store_true", help="measure everything again")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/sparsity.json"))
    options = parser.parse_args()
    data: dict[str, Any] = {"layers": []}
    if options.output.exists() and not options.again:
        data = json.loads(options.output.read_text())

    def save() -> None:
        data["command"] = f"python benchmarks/sparsity.py --rounds {options.rounds} --budget {options.budget:g}"
        data["environment"] = environment()
        write_file(options.output, (json.dumps(data, indent=1) + "\n").encode())
        if "storage" in data:
            write_file(options.output.with_suffix(".md"), report(data).encode())

    if "storage" not in data:
        data["storage"] = storage()
    for layer in LAYERS:
        if not any(asdict(layer).items() <= known.items() for known in data["layers"]):
            data["layers"].append(measure(layer, options.rounds))
            print(layer, flush=True)
            save()
    if "network" not in data:
        with tempfile.TemporaryDirectory() as folder:
            data["network"] = network(options.artifacts or Path(folder), options.rounds // 3, options.budget)
    save()
    print(report(data))


if __name__ == "__main__":
    main()
