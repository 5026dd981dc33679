"""Binary 3x3 convolutions next to float and 8-bit ones of the same shape, on one thread.

    python benchmarks/binary.py [--rounds N] [-o benchmarks/binary.md]

Each layer is measured as it stands in a network: the float one with bias and Relu, the 8-bit one with requantisation,
those of signs with scale, bias and the next sign. Rounds take turns; the shortest times count. Schedules are those
that the kernels predict to be the fastest, as a program has without tuning.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgesmith.atomic import write_file
from edgesmith.bench.environment import environment
from edgesmith.bench.timing import Times, interleaved, timer
from edgesmith.ir import DType, Graph, Node, Op, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.ops import OPS
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.sign_products import SignConv
from edgesmith.ops.window import Window
from edgesmith.plan.layout import channels_last
from edgesmith.target import parse
from edgesmith.tune.trial import Call, Trial, TrialLibrary

WINDOW = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
LAYERS = ((64, 56), (128, 28), (128, 56), (256, 28), (256, 56), (256, 14))
ROUND_SECONDS = 0.02
FORMS = {
    "f32 direct": ("direct", "f32"),
    "f32 best": ("", "f32"),
    "int8 tiles": ("integer-tiles", "int8"),
    "int8 best": ("", "int8"),
    "binary": ("", "binary"),
    "ternary weights": ("", "ternary"),
}
"""Column -> kernel (none given: the one predicted to be the fastest) and what is computed."""


@dataclass
class Chain:
    """A graph of one convolution and what follows it."""

    channels: int
    extent: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.channels)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.types: dict[str, TensorType] = {}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        self.types[name] = TensorType.of(array)
        return name

    def then(self, op: Op, *inputs: str) -> str:
        value = f"v{len(self.nodes)}"
        (self.types[value],) = op.infer([self.types[v] for v in inputs])
        self.nodes.append(Node(value, op, inputs, (value,)))
        return value

    def by_channel(self, low: float, high: float) -> np.ndarray:
        return self.rng.uniform(low, high, (self.channels, 1, 1)).astype(np.float32)

    def graph(self, form: str) -> Graph:
        shape = (1, self.channels, self.extent, self.extent)
        self.types["x"] = TensorType(shape, DType.F32 if form == "f32" else DType.U8 if form == "int8" else DType.I8)
        weights = (self.channels, self.channels, 3, 3)
        if form == "f32":
            w = self.constant("w", self.rng.standard_normal(weights).astype(np.float32))
            y = self.then(OPS["Relu"](), self.then(Conv(WINDOW), "x", w, self._bias()))
        else:
            y = self._integers(form, weights)
        graph = Graph(("x",), (y,), tuple(self.nodes), self.types, self.constants)
        graph.check()
        return graph

    def _bias(self) -> str:
        return self.constant("b", self.by_channel(-1, 1).reshape(-1))

    def _integers(self, form: str, shape: tuple[int, ...]) -> str:
        if form == "int8":
            weights, op = self.rng.integers(-127, 128, shape), ConvInteger(WINDOW)
        else:
            weights = self.rng.integers(-1, 2, shape) if form == "ternary" else 2 * self.rng.integers(0, 2, shape) - 1
            op = SignConv(WINDOW)
        sums = self.then(op, "x", self.constant("w", weights.astype(np.int8)))
        scaled = self.then(
            OPS["Mul"](), self.then(Cast(DType.F32), sums), self.constant("s", self.by_channel(0.01, 0.02))
        )
        value = self.then(OPS["Add"](), scaled, self.constant("b", self.by_channel(-1, 1)))
        one = self.constant("one", np.array(1, np.float32))
        if form == "int8":
            return self.then(QuantizeLinear(DType.U8), value, one)
        positive = self.then(OPS["GreaterOrEqual"](), value, self.constant("zero", np.array(0, np.float32)))
        sign = self.then(OPS["Where"](), positive, one, self.constant("minus", np.array(-1, np.float32)))
        return self.then(QuantizeLinear(DType.I8), sign, one)


def trial(graph: Graph, kernel: str) -> Trial:
    """The whole graph by one kernel, or by the one that predicts the least time."""
    target = parse("native")
    places = {v: Place(v, View.dense(t, channels_last(t.rank))) for v, t in graph.types.items()}
    found: list[tuple[float, int, Trial]] = []
    for candidate in [KERNELS[kernel]] if kernel else KERNELS.values():
        for region in candidate.regions(graph, graph.nodes[0]):
            problem = Problem(graph, region, places, target)
            if len(region.nodes) < len(graph.nodes) or candidate.accepts(problem) is not None:
                continue
            for schedule in candidate.schedules(problem):
                found.append((candidate.cost(problem, schedule), len(found), Trial(problem, candidate, schedule)))
    return min(found)[2]


def feed(graph: Graph) -> dict[str, np.ndarray]:
    kind = graph.type("x")
    rng = np.random.default_rng(1)
    if kind.dtype is DType.F32:
        return {"x": rng.standard_normal(kind.shape).astype(np.float32)}
    integers = rng.integers(0, 256, kind.shape) if kind.dtype is DType.U8 else 2 * rng.integers(0, 2, kind.shape) - 1
    return {"x": integers.astype(kind.dtype.numpy)}


def measure(channels: int, extent: int, rounds: int) -> tuple[dict[str, Times], dict[str, str]]:
    """Times of every form of a layer, and the kernels."""
    graphs = {name: Chain(channels, extent).graph(form) for name, (_, form) in FORMS.items()}
    trials = {name: trial(graphs[name], kernel) for name, (kernel, _) in FORMS.items()}
    library = TrialLibrary(list(trials.values()), parse("native"))

    calls = {name: library.call(i, feed(graphs[name])) for i, name in enumerate(trials)}
    work = {name: timer(partial(run, call)) for name, call in calls.items()}
    times = interleaved(work, rounds, round_seconds=ROUND_SECONDS)
    return times, {name: t.kernel.name for name, t in trials.items()}


def run(call: Call) -> None:
    call.function(call.pointers, ctypes.c_int32(0), call.tasks, call.scratch)


def rows(rounds: int) -> Iterator[str]:
    columns = " (ms) | ".join(FORMS)
    yield f"| 3x3 layer | MACs (M) | {columns} (ms) | binary, times f32 direct | ternary | int8 |"
    yield f"|{'---|' * (5 + len(FORMS))}"
    kernels: dict[str, dict[str, None]] = {name: {} for name in FORMS}
    for channels, extent in LAYERS:
        times, used = measure(channels, extent, rounds)
        for name, kernel in used.items():
            kernels[name][kernel] = None
        cells = [f"{times[n].least / 1e6:.3f}" for n in FORMS]
        cells += [
            f"{times['f32 direct'].least / times[n].least:.1f}" for n in ("binary", "ternary weights", "int8 best")
        ]
        macs = 9 * channels**2 * extent**2 / 1e6
        yield f"| {channels}x{extent}x{extent} | {macs:.0f} | {' | '.join(cells)} |"
    yield ""
    yield "Kernels: " + "; ".join(f"{name}: {', '.join(found)}" for name, found in kernels.items()) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/binary.md"))
    options = parser.parse_args()
    lines = ["# Binary convolutions", "", f"`python benchmarks/binary.py --rounds {options.rounds}`, one thread.", ""]
    print("\n".join(lines))
    for line in rows(options.rounds):
        print(line, flush=True)
        lines.append(line)
    machine = environment()
    lines += ["", "Machine: " + "; ".join(f"{k}: {v}" for k, v in machine.items() if isinstance(v, str | int)) + "."]
    write_file(options.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
