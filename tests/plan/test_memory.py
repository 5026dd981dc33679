"""No value is overwritten before its last reader: on every network of the zoo and on random graphs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from edgesmith.errors import EdgesmithError
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import OPS
from edgesmith.ops.conv import Conv
from edgesmith.ops.slice import Slice
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.plan import Plan, make_plan
from edgesmith.plan.memory import Buffer
from edgesmith.target import parse
from edgesmith.zoo import build, describe, names
from fuzz.random_graphs import random_model

from .memory import check_memory

QUICK = (
    "ghostnet",
    "googlenet",
    "mobilenet-v3-small",
    "shufflenet-v1",
    "shufflenet-v2-1.0",
    "squeezenet-1.1",
    "yolo-tiny",
)
IMAGE = TensorType((1, 16, 6, 6), DType.F32)
WEIGHTS = np.ones((16, 16, 1, 1), np.float32)
POINTWISE = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), 1)
RELU, ADD = OPS["Relu"](), OPS["Add"]()
FLIP = Slice((0, 0, 0, 5), (1, 16, 6, 6), (1, 1, 1, -1))


def zoo_graph(name: str) -> Graph:
    """A network of the zoo at the smallest size that it takes."""
    own = describe(name).image_size
    for size in (64, 96, 128, own):
        with suppress(EdgesmithError):  # the network needs larger images
            return optimize(bind(normalize(build(name, image_size=min(size, own)))))[0]
    raise AssertionError(name)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names()])
def test_networks(name: str) -> None:
    plan = make_plan(zoo_graph(name), parse("native"))
    check_memory(plan)
    assert plan.arena.nbytes <= 1.1 * plan.arena.lower_bound


@pytest.mark.parametrize("target", ["native", "portable"])
def test_random_graphs(target: str) -> None:
    for seed in range(0, 60, 3):
        graph = optimize(bind(random_model(range(seed, seed + 3))))[0]
        check_memory(make_plan(graph, parse(target)))


def graph(*nodes: Node, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",)) -> Graph:
    """Values of type IMAGE; every convolution has the same weights."""
    values = {*inputs, *(v for n in nodes for v in n.outputs)}
    types = dict.fromkeys(sorted(values), IMAGE) | {"w": TensorType.of(WEIGHTS)}
    result = Graph(inputs, outputs, nodes, types, {"w": WEIGHTS})
    result.check()
    return result


def conv(name: str, x: str, y: str) -> Node:
    return Node(name, POINTWISE, (x, "w"), (y,))


def plan(*nodes: Node, outputs: tuple[str, ...] = ("y",)) -> Plan:
    made = make_plan(graph(*nodes, outputs=outputs), parse("native"))
    check_memory(made)
    return made


def overlapping(made: Plan, a: str, b: str) -> bool:
    first, second = made.buffers[made.places[a].root], made.buffers[made.places[b].root]
    return first.space == second.space and first.at < second.at + second.nbytes and second.at < first.at + first.nbytes


def test_residual_is_overwritten_in_place() -> None:
    made = plan(conv("a", "x", "r"), conv("b", "r", "s"), Node("add", ADD, ("s", "r"), ("t",)), conv("c", "t", "y"))
    # r is read by the convolution itself, so its sum cannot lie there.
    assert not overlapping(made, "r", "t")
    made = plan(
        conv("a", "x", "r"),
        conv("b", "x", "s"),
        conv("c", "s", "u"),
        Node("add", ADD, ("u", "r"), ("t",)),
        conv("d", "t", "y"),
    )
    assert overlapping(made, "r", "t")


def test_not_in_place_when_the_same_memory_is_read_otherwise() -> None:
    """x + reversed(x) must not overwrite x while its other end is still to be read."""
    made = plan(
        conv("a", "x", "r"),
        Node("flip", FLIP, ("r",), ("f",)),
        Node("add", ADD, ("r", "f"), ("t",)),
        conv("b", "t", "y"),
    )
    assert "flip" in made.free and not overlapping(made, "r", "t")


def test_not_in_place_over_another_name_of_the_convolution_input() -> None:
    """conv(r) + r under another name: the convolution still needs all of r."""
    identity = OPS["Identity"]()
    made = plan(
        conv("a", "x", "r"),
        Node("same", identity, ("r",), ("i",)),
        conv("b", "r", "s"),
        Node("add", ADD, ("s", "i"), ("t",)),
        conv("c", "t", "y"),
    )
    assert not overlapping(made, "r", "t")


def test_the_check_finds_what_it_should() -> None:
    made = plan(conv("a", "x", "r"), conv("b", "r", "s"), Node("add", ADD, ("s", "r"), ("t",)), conv("c", "t", "y"))
    arena = {v: b for v, b in made.buffers.items() if b.space == 0}
    broken = {**made.buffers, **{v: Buffer(b.space, 0, b.nbytes) for v, b in arena.items()}}
    with pytest.raises(AssertionError, match="over"):
        check_memory(replace(made, buffers=broken))


def test_outputs_of_every_kind() -> None:
    """Outputs that are constants, parts of one Split, read on, or copies of an input."""
    split, identity = OPS["Split"](1, (8, 8)), OPS["Identity"]()
    half = TensorType((1, 8, 6, 6), DType.F32)
    constant = np.arange(6, dtype=np.float32)
    nodes = (
        conv("a", "x", "r"),
        Node("split", split, ("r",), ("p", "q")),
        Node("same", identity, ("x",), ("i",)),
        Node("relu", RELU, ("p",), ("n",)),
    )
    types = {"x": IMAGE, "r": IMAGE, "i": IMAGE, "p": half, "q": half, "n": half}
    types |= {"w": TensorType.of(WEIGHTS), "k": TensorType.of(constant)}
    outputs = ("k", "p", "q", "i", "n", "r")
    whole = Graph(("x",), outputs, nodes, types, {"w": WEIGHTS, "k": constant})
    whole.check()
    made = make_plan(whole, parse("native"))
    check_memory(made)
    assert made.graph.outputs == outputs
