"""Graphs written by hand for the tests of passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgesmith.ir import DType, Graph, Node, Op, TensorType
from edgesmith.passes import PassReport, optimize
from edgesmith.verify import accumulate


class Sketch:
    """A graph under construction; nodes are named after their operators."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.inputs: list[str] = []
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, np.ndarray] = {}

    def input(self, *shape: int, dtype: DType = DType.F32, name: str = "") -> str:
        name = name or f"x{len(self.inputs)}"
        self.inputs.append(name)
        self.types[name] = TensorType(shape, dtype)
        return name

    def constant(self, array: np.ndarray | float | Sequence[float], name: str = "") -> str:
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = name or f"c{len(self.constants)}"
        self.constants[name] = array
        self.types[name] = TensorType.of(array)
        return name

    def random(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def all(self, op: Op, *inputs: str) -> tuple[str, ...]:
        """Outputs of an operator."""
        types = op.infer([self.types[v] if v else None for v in inputs])
        name = f"{op.name.lower()}{len(self.nodes)}"
        outputs = tuple(name if len(types) == 1 else f"{name}:{i}" for i in range(len(types)))
        self.types.update(zip(outputs, types, strict=True))
        self.nodes.append(Node(name, op, inputs, outputs, (f"onnx-{name}",)))
        return outputs

    def add(self, op: Op, *inputs: str) -> str:
        (value,) = self.all(op, *inputs)
        return value

    def graph(self, *outputs: str) -> Graph:
        graph = Graph(tuple(self.inputs), outputs, tuple(self.nodes), self.types, self.constants, "sketch")
        graph.check()
        return graph


def feeds_of(graph: Graph, seed: int = 5) -> dict[str, np.ndarray]:
    """Random values for the inputs."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for value in graph.inputs:
        t = graph.type(value)
        if t.dtype.is_float:
            made[value] = rng.standard_normal(t.shape).astype(t.dtype.numpy)
        elif t.dtype is DType.BOOL:
            made[value] = rng.integers(0, 2, t.shape).astype(bool)
        else:
            made[value] = rng.integers(0, 5, t.shape).astype(t.dtype.numpy)
    return made


def assert_same(before: Graph, after: Graph, feeds: Mapping[str, np.ndarray] | None = None) -> None:
    """Equal interfaces, and every value that both graphs have is the same within the tolerance derived for it."""
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    after.check()
    feeds = feeds_of(before) if feeds is None else feeds
    expected, found = before.reference(feeds), after.reference(feeds)
    tolerances = accumulate(before, feeds).tolerances
    common = [v for v in before.types if v in after.types]
    assert set(before.outputs) <= set(common)
    for value in common:
        assert before.type(value) == after.type(value), value
        np.testing.assert_allclose(
            found[value].astype(np.float64), expected[value].astype(np.float64), 0, tolerances[value], err_msg=value
        )


def optimized(graph: Graph, *rules: str, feeds: Mapping[str, np.ndarray] | None = None) -> tuple[Graph, PassReport]:
    """The graph after some passes (all by default), checked to compute the same."""
    result, report = optimize(graph, frozenset(rules) if rules else None)
    assert report.settled
    assert_same(graph, result, feeds)
    return result, report


def kinds(graph: Graph) -> list[str]:
    """Operator names in order."""
    return [n.op.name for n in graph.nodes]
