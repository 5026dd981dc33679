"""Convolutions with large kernels: FFT next to the direct sum and the other algorithms, each forced on the layer.

    python benchmarks/large_kernels.py [--rounds N] [-o benchmarks/large_kernels.json]

Layers of 3x3 to 31x31, dense and depthwise, stride 1, same padding; times of the convolution's own step on
one thread. Schedules are those that the tuning database or else the kernel itself takes for the fastest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.bench.environment import environment
from edgesmith.bench.timing import interleaved, timer
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.errors import NoKernel

KERNELS = ("direct", "im2col", "kn2row", "winograd", "depthwise", "depthwise-tile", "fft")
LARGE = "large"
AROUND = ("gemm", "copy", "reduce", "portable")
SIZES = (3, 5, 7, 11, 15, 21, 31)


@dataclass(frozen=True)
class Layer:
    channels: int
    filters: int
    extent: int
    size: int
    depthwise: bool

    @property
    def macs(self) -> int:
        depth = (1 if self.depthwise else self.channels) * self.size**2
        return self.filters * self.extent**2 * depth

    def model(self) -> onnx.ModelProto:
        """The convolution between others, so that its input and result are the plan's to lay out."""
        depth = 1 if self.depthwise else self.channels
        shape = (self.filters, depth, self.size, self.size)
        weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32) / (depth * self.size**2) ** 0.5
        group = self.channels if self.depthwise else 1
        nodes = [
            helper.make_node("Conv", ["x", "v"], ["a"], "before"),
            helper.make_node("Conv", ["a", "w"], ["b"], LARGE, pads=[self.size // 2] * 4, group=group),
            helper.make_node("GlobalAveragePool", ["b"], ["y"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, self.channels, self.extent, self.extent])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, self.filters, 1, 1])
        before = np.eye(self.channels, dtype=np.float32).reshape(self.channels, self.channels, 1, 1)
        constants = [numpy_helper.from_array(before, "v"), numpy_helper.from_array(weights, "w")]
        graph = helper.make_graph(nodes, "layer", [x], [y], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


LAYERS = (
    *(Layer(32, 32, 64, size, False) for size in SIZES),
    *(Layer(128, 128, 32, size, True) for size in SIZES),
)


def measure(layer: Layer, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of each kernel that accepts the layer, of the convolution's own step."""
    work, absent = {}, {}
    for name in KERNELS:
        try:
            program = edgesmith.compile(
                layer.model(), output=folder / name, only=[name, "copy", "portable"], name="layer"
            )
        except NoKernel as error:
            absent[name] = error.why
            continue
        steps = program.manifest["steps"]
        (index,) = [i for i, s in enumerate(steps) if LARGE in s["nodes"]]
        if steps[index]["kernel"] != name:
            absent[name] = next(c["reason"] for c in steps[index]["considered"] if c["kernel"] == name)
            continue
        context = program.context()
        outputs = [np.empty(t.shape, t.dtype.numpy) for t in program.outputs.values()]
        context.bind(selftest_inputs(list(program.inputs.values())), outputs)
        context.run_steps(0, len(steps))
        work[name] = timer(lambda context=context, index=index: context.run_steps(index, index + 1))
    times = interleaved(work, rounds)
    return {**asdict(layer), "macs": layer.macs, "ms": {n: t.median / 1e6 for n, t in times.items()}, "absent": absent}


def row(r: dict[str, Any]) -> str:
    """One line of the table; the fastest in bold."""
    best = min(r["ms"].values(), default=0.0)
    cells = [f"{r['ms'][n]:.3f}" if n in r["ms"] else "" for n in KERNELS]
    cells = [f"**{c}**" if n in r["ms"] and r["ms"][n] == best else c for n, c in zip(KERNELS, cells, strict=True)]
    kind = "depthwise" if r["depthwise"] else "dense"
    shape = f"{r['channels']}x{r['extent']}x{r['extent']}"
    return f"| {r['size']}x{r['size']} | {kind} | {shape} | {r['macs'] / 1e6:.0f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/large_kernels.json"))
    options = parser.parse_args()
    header = [
        f"| kernel | kind | input | MACs (M) | {' (ms) | '.join(KERNELS)} (ms) |",
        f"|{'---|' * (4 + len(KERNELS))}",
    ]
    print("\n".join(header))
    results = []
    for layer in LAYERS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(layer, Path(folder), options.rounds))
        print(row(results[-1]), flush=True)
    data = {"command": "python benchmarks/large_kernels.py", "environment": environment(), "layers": results}
    options.output.write_text(json.dumps(data, indent=1) + "\n")
    options.output.with_suffix(".md").write_text("\n".join([*header, *map(row, results)]) + "\n")


if __name__ == "__main__":
    main()
