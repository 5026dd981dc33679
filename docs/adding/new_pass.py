"""How to add a pass.

A pass is a function from a graph to patches: one file in ``src/edgesmith/passes/``. It looks at the graph, which it
cannot change, and yields a ``Patch`` for each place where it applies, and ``Skipped`` with the reason for each place
that it looked at and left; both end up in the report (``edgesmith why``). The engine applies patches that do not touch
one another, verifies types and structure, and runs all passes until none has anything to do. So a pass does one small
thing and need not care about the order.

Passes only bring the graph into a canonical form: they fold, simplify and remove. Fusing operators is the business of
kernels (``new_kernel.py``). A value keeps its meaning as long as its name exists; anything that differs from what the
model computes gets a new name. ``passes/facts.py`` and ``passes/editing.py`` have the usual questions and edits.

This guide runs: it adds a pass, applies it, and compares the graph before and after.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto, helper

from edgesmith.frontend.onnx import read
from edgesmith.ir import Graph, Node, Patch
from edgesmith.passes import Skipped, optimize, rewrite


@rewrite("abs-of-neg")
def abs_of_neg(graph: Graph) -> Iterator[Patch | Skipped]:
    """|-x| becomes |x|."""
    for node in graph.nodes:
        if node.op.name != "Abs":
            continue
        neg = graph.producer(node.inputs[0])
        if neg is None or neg.op.name != "Neg":
            continue
        if graph.sole_consumer(neg.outputs[0]) is None:
            yield Skipped(node.name, f"{neg.outputs[0]} is needed elsewhere, so nothing would be saved")
            continue
        merged = Node(node.name, node.op, neg.inputs, node.outputs, (*neg.origin, *node.origin))
        yield Patch("abs-of-neg", frozenset({neg.name, node.name}), (merged,))


def main() -> None:
    value = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 5]) for n in ("x", "y", "z", "shared")}
    nodes = [
        helper.make_node("Neg", ["x"], ["minus"]),
        helper.make_node("Abs", ["minus"], ["size"]),
        helper.make_node("Exp", ["size"], ["y"]),
        helper.make_node("Neg", ["y"], ["shared"]),
        helper.make_node("Abs", ["shared"], ["z"]),
    ]
    outputs = [value[n] for n in ("y", "shared", "z")]
    model = helper.make_model(
        helper.make_graph(nodes, "sizes", [value["x"]], outputs),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    before = read(model)
    after, report = optimize(before, only=frozenset({"abs-of-neg"}))
    print(before.text(), after.text(), sep="\n")
    for name, node in report.skipped:
        print(f"{name} left {node}: {report.skipped[name, node]}")
    assert report.applied == {"abs-of-neg": 1}
    assert len(report.skipped) == 1
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    expected, found = before.reference({"x": x}), after.reference({"x": x})
    assert all(np.array_equal(expected[v], found[v]) for v in before.outputs)


if __name__ == "__main__":
    main()
