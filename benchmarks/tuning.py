"""How close the tuner comes to an exhaustive search, and how well the cost models rank; writes data and a table.

    python benchmarks/tuning.py [--budget 60] [--records FILE] [-o benchmarks/tuning.json]

For each of six layers of published networks, every schedule of every kernel is measured, and the tuner searches the
same space with an empty database. What the exhaustive search found best, what the tuner chose and what the kernels' own
predictions choose then run once more against each other; regret is how much longer than the best of these a choice
takes. The cost models rank the exhaustive measurements: the learned model is trained on the tuning records of whole
networks (by default the user's database) without these layers, and cross-validated on them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith.bench.environment import environment
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.kernels import KERNELS, Problem
from edgesmith.passes import optimize
from edgesmith.target import Target, parse, this_processor
from edgesmith.toolchain import zig
from edgesmith.tune import Database, Measurements, default_path, tune
from edgesmith.tune import environment as place
from edgesmith.tune.database import freeze
from edgesmith.tune.features import problem_digest
from edgesmith.tune.learned import Learned, cross_validated, is_available
from edgesmith.tune.predict import Calibrated, Candidates, Predictor, ranking_quality
from edgesmith.tune.timer import Times, TrialTimer
from edgesmith.tune.trial import Trial

FINALISTS = 8
FINALS = 5
QUALITIES = ("spearman", "regret_top1", "regret_top3", "regret_top5")


@dataclass(frozen=True)
class Layer:
    """A convolution with ReLU6 on a square image, or (without a kernel) a fully connected layer."""

    name: str
    size: int
    inputs: int
    outputs: int
    kernel: int = 0
    stride: int = 1
    groups: int = 1

    def model(self) -> onnx.ModelProto:
        """The layer between poolings, so that its operands lie as they do inside a network."""
        rng = np.random.default_rng(0)
        extents = [self.size] * 2 * bool(self.kernel)
        weights = rng.standard_normal((self.outputs, self.inputs // self.groups, *[self.kernel] * len(extents)))
        constants = {"w": weights, "b": np.ones(self.outputs), "low": np.array(0.0), "high": np.array(6.0)}
        pad, strides = [self.kernel // 2] * 4, [self.stride] * 2
        if not self.kernel:
            nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
        else:
            pool = {"kernel_shape": [3, 3], "pads": [1] * 4}
            nodes = [
                helper.make_node("Conv", ["pooled", "w", "b"], ["z"], pads=pad, strides=strides, group=self.groups),
                helper.make_node("Clip", ["z", "low", "high"], ["clipped"]),
                helper.make_node("MaxPool", ["clipped"], ["y"], **pool),
            ]
            if self.inputs == 3:
                nodes[0].input[0] = "x"
            else:
                nodes.insert(0, helper.make_node("MaxPool", ["x"], ["pooled"], **pool))
        graph = helper.make_graph(
            nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, self.inputs, *extents])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


LAYERS = (
    Layer("MobileNetV2 first convolution", 224, 3, 32, kernel=3, stride=2),
    Layer("MobileNetV2 expand 24 to 144 at 56x56", 56, 24, 144, kernel=1),
    Layer("MobileNetV2 project 576 to 96 at 14x14", 14, 576, 96, kernel=1),
    Layer("MobileNetV2 depthwise 144 at 56x56", 56, 144, 144, kernel=3, groups=144),
    Layer("ResNet-18 3x3 128 to 128 at 28x28", 28, 128, 128, kernel=3),
    Layer("MobileNetV2 fully connected 1280 to 1000", 1, 1280, 1000),
)


def search(layer: Layer, target: Target, budget_seconds: float, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """One layer: the figures of the table, and (kernel, schedule) to time of its exhaustive search."""
    graph = optimize(bind(normalize(layer.model())))[0]
    compiler = zig()
    timer = TrialTimer(target, compiler, this_processor())
    database = folder / f"{layer.name.replace(' ', '-')}.sqlite"
    database.unlink(missing_ok=True)
    began = time.perf_counter()
    tuned = tune(graph, target, compiler, budget_seconds=budget_seconds, database=database)
    tuned_s = time.perf_counter() - began
    step = next(s for s in tuned.plan.steps if s.region.anchor.op.name in ("Conv", "Gemm"))
    problem = step.problem
    with Database(database) as kept:
        records = list(kept.records(place(target, compiler)))
    mine = sum(r.problem == problem_digest(problem) for r in records)

    trials = [
        Trial(problem, kernel, schedule)
        for kernel in KERNELS.values()
        if kernel.accepts(problem) is None
        for schedule in kernel.schedules(problem)
    ]
    began = time.perf_counter()
    (times,) = timer.time([trials])
    exhaustive_s = time.perf_counter() - began
    found = {key(t): (x.least, t) for t, x in zip(trials, times, strict=True) if x is not None}
    ranked = sorted(found, key=lambda k: found[k][0])
    chosen = step.kernel.name, freeze(step.schedule)
    predicted = min(trials, key=lambda t: t.kernel.cost(problem, t.schedule))
    finalists = list(dict.fromkeys([*ranked[:FINALISTS], chosen, key(predicted)]))
    final = race(timer, [found[k][1] for k in finalists])
    least = min(final)
    by_key = dict(zip(finalists, final, strict=True))
    return {
        "layer": layer.name,
        "candidates": len(trials),
        "measured": mine,
        "exhaustive_s": exhaustive_s,
        "tuner_s": tuned_s,
        "best": " ".join(finalists[int(np.argmin(final))]),
        "best_us": least / 1e3,
        "tuner": " ".join(chosen),
        "tuner_regret": by_key[chosen] / least - 1,
        "exhaustive_regret": by_key[ranked[0]] / least - 1,
        "analytic": " ".join(key(predicted)),
        "analytic_regret": by_key[key(predicted)] / least - 1,
    }, {"problem": problem, "times": {k: t for k, (t, _) in found.items()}}


def key(trial: Trial) -> tuple[str, str]:
    return trial.kernel.name, freeze(trial.schedule)


def race(timer: TrialTimer, trials: Sequence[Trial]) -> list[float]:
    """Least time of each over several races."""
    rounds = [[t.least if isinstance(t, Times) else np.inf for t in next(timer.time([trials]))] for _ in range(FINALS)]
    return [float(t) for t in np.min(rounds, axis=0)]


def quality(predictor: Predictor | None, problem: Problem, times: dict[tuple[str, str], float]) -> dict[str, float]:
    """How well a model (None: the kernels' own) ranks the candidates of one problem."""
    spaces = [Candidates.of(KERNELS[name], problem) for name in sorted({k for k, _ in times})]
    predicted = [s.own_ns for s in spaces] if predictor is None else predictor.predict_ns(spaces)
    pairs = [
        (float(p), times[s.kernel, text])
        for s, ps in zip(spaces, predicted, strict=True)
        for text, p in zip(s.schedules, ps, strict=True)
        if (s.kernel, text) in times
    ]
    return ranking_quality({"": pairs})


def models(found: Sequence[dict[str, Any]], known: Measurements) -> dict[str, Any]:
    """The cost models on the exhaustive measurements, trained without these layers, and cross-validated."""
    held_out = {problem_digest(f["problem"]) for f in found}
    records = [r for r in known.records() if r.problem not in held_out]
    contestants: dict[str, Predictor | None] = {"analytic": None, "calibrated": Calibrated(records)}
    if is_available():
        try:
            contestants["learned"] = Learned(records, known.features)
        except ValueError as error:
            print(f"no learned model: {error}")
    result: dict[str, Any] = {"records": len(records), "problems": len({r.problem for r in records}), "held_out": {}}
    for name, predictor in contestants.items():
        figures = [quality(predictor, f["problem"], f["times"]) for f in found]
        result["held_out"][name] = {k: float(np.mean([q[k] for q in figures])) for k in QUALITIES}
    result["cross_validated"] = cross_validated(known.records(), known.features) if is_available() else {}
    return result


def markdown(data: dict[str, Any]) -> str:
    where = data["environment"]
    lines = [
        "# The tuner next to an exhaustive search",
        "",
        f"{where['processor']}, {where['cores']} cores, load {where['load']}; `{data['command']}`.",
        "Regret: how much longer than the best of all candidates a choice takes, in a last race of the best "
        f"{FINALISTS} and the choices. The exhaustive search's own regret shows how well times repeat: its choice was "
        "the fastest when everything was measured. Behind it: how much longer the tuner's choice takes than that one.",
        "",
        "| layer | candidates | tuner measured | exhaustive (s) | tuner (s) | best (µs) | best kernel "
        "| tuner's regret | exhaustive's | behind it | prediction's |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['layer']} | {r['candidates']} | {r['measured']} | {r['exhaustive_s']:.0f} | {r['tuner_s']:.0f} "
        f"| {r['best_us']:.1f} | {r['best'].split()[0]} | {r['tuner_regret']:.1%} | {r['exhaustive_regret']:.1%} "
        f"| {(1 + r['tuner_regret']) / (1 + r['exhaustive_regret']) - 1:+.1%} | {r['analytic_regret']:.1%} |"
        for r in data["layers"]
    ]
    for title, rows in (
        (
            f"Cost models on these layers, trained on {data['models']['records']} records of "
            f"{data['models']['problems']} other layers",
            data["models"]["held_out"],
        ),
        (
            "Cost models on the records of layers that they were not trained on (5 folds)",
            data["models"]["cross_validated"],
        ),
    ):
        if rows:
            lines += ["", f"## {title}", ""]
            lines += ["| model | rank correlation | regret of the first | of the best of 3 | of the best of 5 |"]
            lines += ["|---|---|---|---|---|"]
            for name, q in rows.items():
                spearman, *regrets = (q[c] for c in QUALITIES)
                lines.append(f"| {name} | {spearman:.2f} | " + " | ".join(f"{x:.1%}" for x in regrets) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the tuner, each layer")
    parser.add_argument("--records", type=Path, help="tuning database to learn from (default: the user's)")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    target = parse("native")
    rows, found = [], []
    folder = default_path().parent / "benchmark"
    for layer in LAYERS:
        row, exhaustive = search(layer, target, arguments.budget, folder)
        print(json.dumps(row), flush=True)
        rows.append(row)
        found.append(exhaustive)
    with Database(arguments.records or default_path()) as database:
        known = Measurements.open(place(target, zig()), database)
    command = f"python benchmarks/tuning.py --budget {arguments.budget:g}"
    data = {"command": command, "environment": environment(), "layers": rows, "models": models(found, known)}
    arguments.output.write_text(json.dumps(data, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(markdown(data))
    print(markdown(data))


if __name__ == "__main__":
    main()
