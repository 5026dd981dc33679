"""Problems for kernels, made from the cases of operators."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType, Graph, Node, TensorType, View
from edgesmith.kernels import KERNELS, Kernel, Place, Problem
from edgesmith.ops import OPS, Elementwise
from edgesmith.ops.base import Case
from edgesmith.ops.cast import Cast
from edgesmith.ops.clip import Clip
from edgesmith.ops.integer_products import IntegerProduct
from edgesmith.ops.quantize_linear import DequantizeLinear, QuantizeLinear
from edgesmith.plan.layout import channels_last
from edgesmith.target import Target
from edgesmith.tune.trial import Trial, TrialLibrary
from edgesmith.verify.evaluate import Evaluator
from edgesmith.verify.tolerance import Computed, region_bounds, smallest

LAYOUTS = ("row_major", "channels_last", "part", "reversed")


def case_graph(case: Case) -> Graph:
    """One node; arrays become constants."""
    types: dict[str, TensorType] = {}
    constants: dict[str, np.ndarray] = {}
    names = []
    for i, given in enumerate(case.inputs):
        if given is None:
            names.append("")
            continue
        name = f"in{i}"
        names.append(name)
        types[name] = given if isinstance(given, TensorType) else TensorType.of(given)
        if not isinstance(given, TensorType):
            constants[name] = given
    made = case.op.infer([types[n] if n else None for n in names])
    outputs = tuple(f"out{i}" for i in range(len(made)))
    types.update(zip(outputs, made, strict=True))
    node = Node("node", case.op, tuple(names), outputs)
    inputs = tuple(dict.fromkeys(n for n in names if n and n not in constants))
    return Graph(inputs, outputs, (node,), types, constants)


def with_epilogue(graph: Graph) -> Graph | None:
    """The graph's only f32 output scaled by channel, added to a residual, and bounded: clipped, or by a function."""
    if len(graph.outputs) != 1 or graph.type(graph.outputs[0]).dtype is not DType.F32:
        return None
    (y,) = graph.outputs
    shape = graph.type(y).shape
    if len(shape) < 2 or not graph.inputs:
        return None
    scale = np.linspace(0.5, 1.5, shape[1], dtype=np.float32).reshape(-1, *(1,) * (len(shape) - 2))
    full = graph.type(y)
    bound = (Clip(0.0, 6.0), OPS["Sigmoid"]())[zlib.crc32(graph.text().encode()) % 2]
    nodes = (
        *graph.nodes,
        Node("scale", OPS["Mul"](), (y, "factors"), ("scaled",)),
        Node("add", OPS["Add"](), ("scaled", "residual"), ("sum",)),
        Node("bound", bound, ("sum",), ("bounded",)),
    )
    types = {**graph.types, "factors": TensorType.of(scale), "residual": full, "scaled": full, "sum": full}
    return Graph(
        (*graph.inputs, "residual"),
        ("bounded",),
        nodes,
        types | {"bounded": full},
        {**graph.constants, "factors": scale},
    )


def requantized(graph: Graph) -> Graph | None:
    """The graph's only i32 output with a bias, scaled by channel, added to dequantised bytes, and quantised."""
    (node,) = graph.nodes
    if len(graph.outputs) != 1 or graph.type(graph.outputs[0]).dtype is not DType.I32:
        return None
    (y,) = graph.outputs
    shape = graph.type(y).shape
    if len(shape) < 2 or not isinstance(node.op, IntegerProduct):
        return None
    axis = 1 if "window" in node.op.attributes() else len(shape) - 1
    along = (-1, *(1,) * (len(shape) - 1 - axis))
    rng = np.random.default_rng(5)
    channels = shape[axis]
    constants = {
        "bias": rng.integers(-5000, 5000, channels).astype(np.int32).reshape(along),
        "scales": rng.uniform(2e-4, 3e-3, channels).astype(np.float32).reshape(along),
        "residual scale": np.array(0.31, np.float32),
        "residual zero": np.array(117, np.uint8),
        "one": np.array(1.0, np.float32),
        "zero": np.array(-7, np.int8),
    }
    nodes = (
        node,
        Node("add bias", OPS["Add"](), (y, "bias"), ("biased",)),
        Node("cast", Cast(DType.F32), ("biased",), ("steps",)),
        Node("mul", OPS["Mul"](), ("steps", "scales"), ("scaled",)),
        Node("dequantize", DequantizeLinear(), ("residual", "residual scale", "residual zero"), ("float residual",)),
        Node("add", OPS["Add"](), ("scaled", "float residual"), ("sum",)),
        Node("quantize", QuantizeLinear(DType.I8), ("sum", "one", "zero"), ("quantized",)),
    )
    floats = ("steps", "scaled", "float residual", "sum")
    types = {
        **graph.types,
        **{v: TensorType.of(a) for v, a in constants.items()},
        **dict.fromkeys(floats, TensorType(shape, DType.F32)),
        "residual": TensorType(shape, DType.U8),
        "biased": graph.type(y),
        "quantized": TensorType(shape, DType.I8),
    }
    return Graph((*graph.inputs, "residual"), ("quantized",), nodes, types, {**graph.constants, **constants})


def twins(graph: Graph) -> Graph | None:
    """The graph's only node twice, on the same inputs."""
    (node,) = graph.nodes
    if isinstance(node.op, Elementwise) or len(node.outputs) != 1:
        return None
    other = f"{node.outputs[0]}:twin"
    twin = Node("twin", node.op, node.inputs, (other,))
    types = {**graph.types, other: graph.type(node.outputs[0])}
    return Graph(graph.inputs, (*graph.outputs, other), (node, twin), types, graph.constants)


def places(graph: Graph, layout: str) -> dict[str, Place]:
    """A place for every value.

    Args:
        layout: ``row_major``; ``channels_last``; ``part``: channels last, each value a part of a larger buffer;
            ``reversed``: channels last, inputs with their middle axes in descending order.
    """
    result = {}
    for value, kind in graph.types.items():
        if layout == "row_major":
            view = View.dense(kind)
        elif layout == "channels_last":
            view = View.dense(kind, channels_last(kind.rank))
        else:
            larger = TensorType(
                tuple(n + (2 * a + 1) * (layout == "part") for a, n in enumerate(kind.shape)), kind.dtype
            )
            whole = View.dense(larger, channels_last(kind.rank))
            starts, steps = [min(1, m - n) for m, n in zip(larger.shape, kind.shape, strict=True)], [1] * kind.rank
            if layout == "reversed" and value in graph.inputs and kind.size:
                for a in range(2, kind.rank):
                    starts[a], steps[a] = kind.shape[a] - 1, -1
            view = whole.slice(starts, kind.shape, steps)
        result[value] = Place(value, view)
    return result


def feeds(graph: Graph) -> dict[str, np.ndarray]:
    """Seeded values of the graph's inputs."""
    rng = np.random.default_rng(zlib.crc32(graph.text().encode()))
    result = {}
    for value in graph.inputs:
        kind = graph.type(value)
        if kind.dtype.is_float:
            result[value] = rng.normal(size=kind.shape).astype(kind.dtype.numpy)
        elif kind.dtype is DType.BOOL:
            result[value] = rng.integers(0, 2, kind.shape).astype(bool)
        elif kind.dtype.itemsize == 1:
            limits = np.iinfo(kind.dtype.numpy)
            result[value] = rng.integers(limits.min, limits.max + 1, kind.shape).astype(kind.dtype.numpy)
        else:
            low = -8 if kind.dtype.is_signed else 0
            result[value] = rng.integers(low, 8, kind.shape).astype(kind.dtype.numpy)
    return result


class References(Evaluator):
    """Evaluates nodes by the operators' numpy references."""

    def run(self, node: Node, operands: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return node.op.reference(*operands)


@dataclass(frozen=True, eq=False)
class Check:
    """A trial with what it must give."""

    name: str
    trial: Trial
    feeds: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    tolerances: Mapping[str, np.ndarray | float]

    def compare(self, got: Mapping[str, np.ndarray]) -> None:
        """Raises ``AssertionError`` where an output is further from the reference than its tolerance."""
        for value, result in got.items():
            want = self.expected[value]
            assert result.shape == want.shape
            both = np.isfinite(want.astype(np.float64)) & np.isfinite(result.astype(np.float64))
            np.testing.assert_array_equal(result[~both], want[~both], err_msg=f"{self.name} {value}")
            with np.errstate(invalid="ignore"):
                difference = np.abs(
                    result.astype(np.float64) - want.astype(np.float64), where=both, out=np.zeros(want.shape)
                )
            excess = difference - np.maximum(self.tolerances[value], smallest(DType.of(want.dtype)))
            wrong = both & ~(excess <= 0)
            assert not wrong.any(), (
                f"{self.name} {value}: {int(wrong.sum())} of {wrong.size} elements differ too much, "
                f"by up to {difference[wrong].max():.3g}"
            )


def failures(todo: Sequence[Check], library: TrialLibrary) -> list[str]:
    """What is wrong with checks that are the library's trials, in order: values, or that they depend on the split."""
    found = []
    for i, check in enumerate(todo):
        try:
            whole = library.run(i, check.feeds)
            check.compare(whole)
            apart = library.run(i, check.feeds, apart=True)
            for value, result in whole.items():
                np.testing.assert_array_equal(apart[value], result, err_msg=f"{check.name}: depends on the split")
        except (AssertionError, RuntimeError) as error:
            found.append(f"{check.name}: {str(error).strip()}")
    return found


def references(
    graph: Graph, values: Mapping[str, np.ndarray], computed: Computed | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray | float]]:
    """Every value by the operators' numpy references, and how far from it two programs may end up.

    Args:
        computed: kernels and schedules of nodes, for bounds of their own.
    """
    with np.errstate(all="ignore"):
        expected = graph.reference(values)
        return expected, region_bounds(References(graph), graph.nodes, expected, computed or {})


def checks(case: Case, name: str, target: Target, kernels: Sequence[str] = ()) -> Iterator[Check]:
    """Every kernel that accepts the case, by itself, with an epilogue, and beside a twin, in every layout.

    Schedules are sampled evenly, one in the less usual layouts, and elementwise operators tried in two layouts.
    Portable C depends neither on the instruction set nor on how far apart elements are, so it is checked on the
    portable target alone, in two layouts.

    Args:
        kernels: names of the kernels to check (default: all).
    """
    plain = case_graph(case)
    chained = requantized(plain)
    if chained is None and (not isinstance(case.op, Elementwise) or case.op.name == "Sigmoid"):
        chained = with_epilogue(plain)
    for graph in filter(None, (plain, chained, twins(plain))):
        values = feeds(graph)
        with np.errstate(all="ignore"):
            expected = graph.reference(values)
        bounds: dict[object, Mapping[str, np.ndarray | float]] = {}
        for layout in ("row_major", "part") if isinstance(case.op, Elementwise) else LAYOUTS:
            where = places(graph, layout)
            for kernel in KERNELS.values():
                portable = kernel.name == "portable"
                if (kernels and kernel.name not in kernels) or (
                    portable and (target.isa or layout not in ("row_major", "part"))
                ):
                    continue
                regions = list(kernel.regions(graph, graph.nodes[0]))
                region = regions[-1] if regions else None
                if region is None or (len(region.nodes) > 1) != (graph is not plain):
                    continue
                problem = Problem(graph, region, where, target)
                if kernel.accepts(problem) is not None:
                    continue
                for schedule in spread(kernel.schedules(problem), 3 if layout in LAYOUTS[:2] else 1):
                    own = () if type(kernel).rounding is Kernel.rounding else (kernel.name, *schedule.items())
                    key = (region.names, *own)
                    if key not in bounds:
                        computed = {region.anchor.name: (kernel, schedule)}
                        bounds[key] = region_bounds(References(graph), region.nodes, expected, computed)
                    if _is_exact(graph):
                        bounds[key] = dict.fromkeys(bounds[key], 0.0)
                    label = f"{name} {region.label} by {kernel.name} {dict(schedule)} {layout}"
                    yield Check(label, Trial(problem, kernel, schedule), values, expected, bounds[key])


def _is_exact(graph: Graph) -> bool:
    """Whether every bit of the result is specified: bytes from bytes by way of integer sums."""
    bytes_only = all(graph.type(v).dtype.itemsize == 1 for v in graph.inputs)
    return bytes_only and isinstance(graph.nodes[0].op, IntegerProduct)


def spread(items: Sequence[Mapping[str, int]], most: int) -> list[Mapping[str, int]]:
    """At most so many of the items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(most - 1, 1))] for i in range(most)]


def operator_cases() -> list[tuple[str, Case]]:
    """Every case of every operator, named."""
    found = []
    for name, op in OPS.items():
        for i, case in enumerate(op.cases()):
            found.append((f"{name}-{case.name or i}", case))
    return found
