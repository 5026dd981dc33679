"""How to add an operator.

An operator is one file in ``src/edgesmith/ops/`` with a class that says everything about it: attributes (the fields of
the class, named as in ONNX), the types of its outputs, a numpy reference, its cost, portable C, and example cases.
Nothing else lists operators: the decorator registers the class, and the tests of operators and of kernels
(``tests/ops``, ``tests/kernels``) run every case that ``cases`` yields.

An operator that computes each output element from the inputs at the same index derives from ``Elementwise`` and states
one expression. That expression serves numpy, scalar C, vector C and fusion into the operators around it, so the class
below is complete. Others derive from ``Operator`` and write ``infer``, ``reference``, ``cost`` and ``portable``
(``ops/cum_sum.py`` is a short one); those that only rearrange elements derive from ``Movement`` and give views
(``ops/transpose.py``).

This guide runs: it compiles the operator alone, by plain loops and in vectors, and compares both with its reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call
from edgesmith.ir import Graph, Node, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.kernels.region import region
from edgesmith.ops import Elementwise, operator
from edgesmith.ops.base import Case, f32
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary


@operator
@dataclass(frozen=True)
class Bump(Elementwise):
    """x * exp(-alpha * x**2)."""

    name: ClassVar[str] = "Bump"
    alpha: float = 1.0

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return x * call("exp", x * x * -self.alpha)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 3, 5, 7),), "default")
        yield Case(cls(alpha=0.25), (f32(100),), "wide")


def problem(case: Case) -> Problem:
    """A graph of one node, its values in row-major memory."""
    (x,) = case.inputs
    assert isinstance(x, TensorType)
    types = {"x": x, "y": case.op.infer([x])[0]}
    node = Node("bump", case.op, ("x",), ("y",))
    graph = Graph(("x",), ("y",), (node,), types, {})
    places = {value: Place(value, View.dense(type)) for value, type in types.items()}
    return Problem(graph, region(graph, (node,), node), places, parse("native"))


def main() -> None:
    problems = [problem(case) for case in Bump.cases()]
    trials = [Trial(p, KERNELS[name], {}) for p in problems for name in ("portable", "elementwise")]
    library = TrialLibrary(trials, parse("native"))
    for i, trial in enumerate(trials):
        x = np.random.default_rng(i).standard_normal(trial.problem.type("x").shape).astype(np.float32)
        (expected,) = trial.problem.anchor.op.reference(x)
        error = float(np.abs(library.run(i, {"x": x})["y"] - expected).max())
        print(f"{trial.kernel.name:12} {trial.problem.type('x')!s:16} largest error {error:.1e}")
        assert error < 1e-6


if __name__ == "__main__":
    main()
