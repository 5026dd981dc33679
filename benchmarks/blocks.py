"""Matrix products with weights of 4 bits in blocks of 64 next to the same in f32, on one thread.

    python benchmarks/blocks.py [--rounds N] [-o benchmarks/blocks.md]

Rounds take turns; the shortest times count. Each product is repeated, so that weights of a few megabytes stay in the
shared cache; those of 4096 x 4096 come from memory in f32. Schedules as in ``binary.py``.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from binary import run, trial

from edgesmith.atomic import write_file
from edgesmith.bench.environment import environment
from edgesmith.bench.timing import interleaved, timer
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops.block_scales import BlockMatMul
from edgesmith.ops.matmul import MatMul
from edgesmith.quantize.block_weights import block_codes
from edgesmith.target import parse
from edgesmith.tune.trial import TrialLibrary

BLOCK = 64
SIZES = ((1, 1024, 1024), (1, 2048, 2048), (1, 4096, 4096), (4, 4096, 4096), (32, 2048, 2048))
"""Rows, inputs, channels."""
HEAD = ("rows x inputs x channels", "weights f32 (MiB)", "f32 (ms)", "4 bits (ms)", "ratio", "kernels")


def graphs(rows: int, inputs: int, channels: int) -> tuple[Graph, Graph]:
    """The product in f32, and with weights in blocks."""
    weights = np.random.default_rng(2).standard_normal((inputs, channels)).astype(np.float32)
    codes, scales = block_codes(weights, 0, BLOCK)
    types = {"x": TensorType((rows, inputs), DType.F32), "y": TensorType((rows, channels), DType.F32)}

    def graph(op: MatMul | BlockMatMul, constants: dict[str, np.ndarray]) -> Graph:
        node = Node("product", op, ("x", *constants), ("y",))
        return Graph(
            ("x",), ("y",), (node,), {**types, **{v: TensorType.of(a) for v, a in constants.items()}}, constants
        )

    return graph(MatMul(), {"w": weights}), graph(BlockMatMul(BLOCK), {"w": codes, "s": scales})


def row(size: tuple[int, int, int], rounds: int) -> str:
    """One line of the table."""
    trials = [trial(g, "") for g in graphs(*size)]
    library = TrialLibrary(trials, parse("native"))
    x = np.random.default_rng(1).standard_normal(size[:2]).astype(np.float32)
    calls = [library.call(i, {"x": x}) for i in range(2)]
    work = {name: timer(partial(run, call)) for name, call in zip(("f32", "4 bits"), calls, strict=True)}
    times = interleaved(work, rounds, round_seconds=0.05)
    least = [f"{times[n].least / 1e6:.3f}" for n in work]
    megabytes = 4 * size[1] * size[2] / 2**20
    kernels = ", ".join(t.kernel.name for t in trials)
    cells = (
        " x ".join(map(str, size)),
        f"{megabytes:.0f}",
        *least,
        f"{times['f32'].least / times['4 bits'].least:.2f}",
        kernels,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/blocks.md"))
    options = parser.parse_args()
    lines = ["# Weights of 4 bits", "", f"`python benchmarks/blocks.py --rounds {options.rounds}`, one thread.", ""]
    lines += [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    print("\n".join(lines))
    for size in SIZES:
        lines.append(row(size, options.rounds))
        print(lines[-1], flush=True)
    machine = environment()
    lines += ["", "Machine: " + "; ".join(f"{k}: {v}" for k, v in machine.items() if isinstance(v, str | int)) + "."]
    write_file(options.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
