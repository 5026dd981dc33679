"""Invariants of graphs, patches and digests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesmith.errors import GraphError
from edgesmith.ir import DType, Graph, Node, Patch, TensorType, apply
from edgesmith.ops import OPS

VECTOR = TensorType((4,), DType.F32)
RELU, ADD, NEG = OPS["Relu"](), OPS["Add"](), OPS["Neg"]()
SPLIT = OPS["Split"](0, (1, 3))


def graph() -> Graph:
    """y = relu(x) + c, z = -y; z is the output."""
    nodes = (
        Node("relu", RELU, ("x",), ("r",), ("onnx relu",)),
        Node("add", ADD, ("r", "c"), ("y",)),
        Node("neg", NEG, ("y",), ("z",)),
    )
    constants = {"c": np.ones(4, np.float32)}
    return Graph(("x",), ("z",), nodes, dict.fromkeys("xrcyz", VECTOR), constants)


def test_a_valid_graph_passes_and_is_indexed() -> None:
    g = graph()
    g.check()
    producer = g.producer("y")
    assert producer is not None and producer.name == "add" and g.producer("x") is None
    assert [n.name for n in g.consumers["y"]] == ["neg"] and g.consumers["z"] == ()
    sole = g.sole_consumer("r")
    assert sole is not None and sole.name == "add" and g.sole_consumer("z") is None
    assert g.parameters == 4 and g.position == {"relu": 0, "add": 1, "neg": 2}
    np.testing.assert_array_equal(g.reference({"x": np.array([-1, 0, 1, 2], np.float32)})["z"], [-1, -1, -2, -3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"nodes": g.nodes[::-1]}, "before anything produces it"),
        (lambda g: {"nodes": (*g.nodes, replace(g.nodes[0], outputs=("q",)))}, "share this name"),
        (lambda g: {"nodes": (*g.nodes, replace(g.nodes[0], name="again"))}, "produced twice"),
        (lambda g: {"nodes": (*g.nodes, replace(g.nodes[0], name="new", outputs=("q",)))}, "has no type"),
        (lambda g: {"outputs": ("q",)}, "does not exist"),
        (lambda g: {"types": {**g.types, "c": TensorType((5,), DType.F32)}}, "constant is f32"),
        (lambda g: {"types": {**g.types, "y": TensorType((5,), DType.F32)}}, "declared f32"),
    ],
)
def test_broken_graphs_are_refused(change, message: str) -> None:  # type: ignore[no-untyped-def]
    g = graph()
    with pytest.raises(GraphError, match=message):
        replace(g, **change(g)).check()


def test_patch_replaces_renames_and_sorts() -> None:
    g = graph()
    new = (Node("b", ADD, ("a_out", "d"), ("b_out",)), Node("a", NEG, ("x",), ("a_out",)))
    patch = Patch("test", frozenset({"relu", "add"}), new, {"d": np.zeros(4, np.float32)}, {"y": "b_out"})
    after = apply(g, [patch])
    after.check()
    assert [n.name for n in after.nodes] == ["a", "b", "neg"]
    assert after.nodes[-1].inputs == ("b_out",)
    assert set(after.constants) == {"d"} and set(after.types) == {"x", "d", "a_out", "b_out", "z"}
    assert after.type("a_out") == VECTOR


def test_patch_computes_what_was_constant() -> None:
    after = apply(graph(), [Patch("test", insert=(Node("a", NEG, ("x",), ("c",)),))])
    after.check()
    assert not after.constants and [n.name for n in after.nodes][-1] == "neg"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (Patch("test", frozenset({"relu"})), "nothing produces"),
        (Patch("test", frozenset({"relu"}), (Node("a", NEG, ("y",), ("r",)),)), "cycle"),
        (Patch("test", rename={"z": "y"}), "renames graph outputs"),
        (Patch("test", rename={"r": "y", "y": "r"}), "circle"),
        (Patch("test", insert=(Node("neg", NEG, ("x",), ("q",)),)), "share the name"),
        (Patch("test", insert=(Node("a", NEG, ("x",), ("y",)),)), "produced twice"),
        (Patch("test", frozenset({"no such node"})), "no such node"),
        (Patch("test", frozenset({"neg"}), (Node("a", SPLIT, ("y",), ("z", "rest")),)), "output 'z' was"),
    ],
)
def test_patches_that_break_the_graph_are_refused(patch: Patch, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        apply(graph(), [patch])


def test_overlapping_patches_are_refused() -> None:
    patch = Patch("test", frozenset({"neg"}), (Node("a", RELU, ("y",), ("z",)),))
    with pytest.raises(GraphError, match="removed by two patches"):
        apply(graph(), [patch, replace(patch, insert=())])


def test_digest_follows_structure_types_and_constants() -> None:
    g = graph()
    assert g.digest == graph().digest
    changed = [
        replace(g, constants={"c": np.zeros(4, np.float32)}),
        replace(g, constants={"c": np.ones((1, 4), np.float32)}, types={**g.types, "c": TensorType((1, 4), DType.F32)}),
        replace(g, nodes=(replace(g.nodes[0], op=NEG), *g.nodes[1:])),
        replace(g, outputs=("z", "y")),
        replace(g, name="other"),
    ]
    assert len({g.digest, *(c.digest for c in changed)}) == len(changed) + 1


def test_frozen() -> None:
    g = graph()
    with pytest.raises(TypeError):
        g.types["x"] = VECTOR  # type: ignore[index]
