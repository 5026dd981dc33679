"""Make the starter database that the package ships, of what was measured on this machine.

    python benchmarks/starter.py [-o src/edgesmith/tune/starter.jsonl.xz]

For every layer of the suites' networks, and for every way to fuse layers that a plan considers, it keeps the fastest
schedule of the three fastest kernels; records of code that is no longer emitted are left behind. Tune the networks
first: edgesmith tune zoo:NAME.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgesmith.bench.suite import load_suite, suite_names
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.kernels import KERNELS, Kernel, Problem, Schedule
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune import Database, default_path
from edgesmith.tune import environment as place
from edgesmith.tune.features import problem_features
from edgesmith.tune.measurements import OWN, MeasuredCost, Measurements

STARTER = Path(__file__).parents[1] / "src/edgesmith/tune/starter.jsonl.xz"
KERNELS_KEPT = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=STARTER)
    options = parser.parse_args()
    target = parse("native")
    here = place(target, zig())
    with Database(default_path()) as users, Database() as kept:
        known = Measurements.open(here, users)
        measured = MeasuredCost(known)
        for entry in (e for suite in suite_names() for e in load_suite(suite).entries):
            met: dict[str, Problem] = {}

            def cost(kernel: Kernel, problem: Problem, schedule: Schedule, met: dict[str, Problem] = met) -> float:
                met.setdefault(known.digest(problem), problem)
                return measured(kernel, problem, schedule)

            graph, _ = optimize(bind(normalize(entry.model())))
            make_plan(graph, target, cost)
            for digest, problem in met.items():
                found = [known.of(problem, frozenset((name,)), (OWN,)) for name in KERNELS]
                fastest = sorted((f[0].record for f in found if f), key=lambda r: r.least_ns)
                kept.insert(here, {digest: problem_features(problem)}, fastest[:KERNELS_KEPT])
            print(f"{entry.name}: {len(met)} problems", flush=True)
        print(f"{kept.export(options.output)} records in {options.output}")


if __name__ == "__main__":
    main()
