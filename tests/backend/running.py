"""Runs node cases: many in one compiled program."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper

from edgesmith.codegen import generate
from edgesmith.device.local import Context, Program
from edgesmith.errors import EdgesmithError
from edgesmith.frontend.limits import TARGET_OPSET
from edgesmith.frontend.onnx import bind
from edgesmith.frontend.worker import clean
from edgesmith.ir import Graph, Node
from edgesmith.oracle import session
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import build, zig

from .cases import NodeCase

__all__ = ["Outcome", "Status", "run_cases"]

FLAGS = ("-O1",)
"""The meaning is that of -O3, the build several times faster."""

_RUN_TIME_OPERAND = re.compile(r"\('([^']+)'\) is computed at run time")
_SHAPES = frozenset(
    (
        "axes",
        "axis",
        "shape",
        "pads",
        "starts",
        "ends",
        "steps",
        "split",
        "scales",
        "sizes",
        "roi",
        "repeats",
        "k",
        "depth",
    )
)
"""Names, in the operators' specifications, of inputs that decide the output's shape."""


class Status(Enum):
    """How a case ended."""

    PASSED = "pass"
    BOUND = "pass with bound inputs"
    AS_ORACLE = "as ONNX Runtime"
    FAILED = "fail"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Outcome:
    case: NodeCase
    status: Status
    why: str = ""


@dataclass(frozen=True)
class _Bound:
    """A case's graph, with the inputs that are constants in it."""

    case: NodeCase
    graph: Graph
    fixed: tuple[str, ...]


def run_cases(cases: Sequence[NodeCase], target: str = "portable") -> list[Outcome]:
    """Bind, compile together and run the cases; outcomes in their order."""
    outcomes: dict[str, Outcome] = {}
    ready: list[_Bound] = []
    for case in cases:
        if not all(isinstance(a, np.ndarray) for a in (*case.inputs.values(), *case.outputs.values())):
            outcomes[case.name] = Outcome(case, Status.UNSUPPORTED, "an input or output is no tensor")
            continue
        try:
            ready.append(_bind(case))
        except EdgesmithError as error:
            outcomes[case.name] = Outcome(case, Status.UNSUPPORTED, f"{type(error).__name__}: {error}")
    if ready:
        results = _execute(ready, target)
        for bound, result in zip(ready, results, strict=True):
            try:
                bound.case.compare(result)
                status, why = (Status.BOUND if bound.fixed else Status.PASSED), ", ".join(bound.fixed)
            except AssertionError as error:
                status = Status.AS_ORACLE if _as_oracle(bound.case, result) else Status.FAILED
                why = str(error).strip()
            outcomes[bound.case.name] = Outcome(bound.case, status, why)
    return [outcomes[case.name] for case in cases]


def _as_oracle(case: NodeCase, result: Mapping[str, np.ndarray]) -> bool:
    """Whether ONNX Runtime computes the same, unlike the data that comes with the case."""
    expected = session(case.model, optimized=False).run(None, dict(case.inputs))
    try:
        replace(case, outputs=dict(zip(case.outputs, expected, strict=True))).compare(result)
    except AssertionError:
        return False
    return True


def _bind(case: NodeCase) -> _Bound:
    """The case's graph; inputs become constants one by one, where the operator asks for it."""
    fixed: tuple[str, ...] = ()
    while True:
        try:
            return _Bound(case, _graph(case, fixed), fixed)
        except EdgesmithError as error:
            asked = [name for name in _asked(case, str(error)) if name in case.inputs and name not in fixed]
            if not asked:
                raise
            fixed += tuple(asked)


def _asked(case: NodeCase, error: str) -> list[str]:
    """The inputs that have to be known, according to an error."""
    operand = _RUN_TIME_OPERAND.search(error)
    if operand:
        return [operand[1]]
    if "depends on the data" not in error:
        return []
    (node,) = case.model.graph.node
    if node.op_type in ("ConstantOfShape", "Range"):
        return list(node.input)
    formal = onnx.defs.get_schema(node.op_type, TARGET_OPSET).inputs
    return [name for name, parameter in zip(node.input, formal, strict=False) if parameter.name in _SHAPES]


def _graph(case: NodeCase, fixed: Sequence[str]) -> Graph:
    tensors = []
    for name in fixed:
        value = case.inputs[name]
        assert isinstance(value, np.ndarray)
        tensors.append(numpy_helper.from_array(value, name))
    model = clean(case.model.SerializeToString(), folder=None, shapes=_shapes(case), bindings=tensors)
    graph = bind(model.model)
    return graph if graph.nodes else bind(_unfolded(case, tensors))


def _shapes(case: NodeCase) -> dict[str, tuple[int, ...]]:
    """The true shapes of inputs that leave some dimension open."""
    open_inputs = [
        i.name for i in case.model.graph.input if any(not d.HasField("dim_value") for d in i.type.tensor_type.shape.dim)
    ]
    return {name: np.shape(case.inputs[name]) for name in open_inputs}  # type: ignore[arg-type]


def _unfolded(case: NodeCase, tensors: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
    """The model with all inputs constant, as the frontend would have folded it away."""
    model = onnx.version_converter.convert_version(case.model, TARGET_OPSET)
    names = {t.name for t in tensors}
    kept = [i for i in model.graph.input if i.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(tensors)
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node{i}"
    return model


def _execute(bound: Sequence[_Bound], target: str) -> list[dict[str, np.ndarray]]:
    """The outputs of all graphs, computed by one program."""
    graph = _merged([b.graph for b in bound])
    graph.check()
    graph, _ = optimize(graph)
    place = parse(target)
    package = generate(make_plan(graph, place), "cases", "0")
    with tempfile.TemporaryDirectory(prefix="edgesmith-backend-") as name:
        folder = Path(name)
        source = folder / "src"
        source.mkdir()
        package.write(source)
        library = build(source, folder, package.name, place, zig(), extra=FLAGS, executable=False)["shared"]
        context = Context(Program(library, package.name))
        feeds = [np.ascontiguousarray(b.case.inputs[v]) for b in bound for v in b.graph.inputs]
        results = [np.zeros(graph.type(v).shape, graph.type(v).dtype.numpy) for v in graph.outputs]
        context.run(feeds, results)
    remaining = iter(results)
    return [{v: next(remaining) for v in b.graph.outputs} for b in bound]


def _merged(graphs: Sequence[Graph]) -> Graph:
    """One graph of independent parts."""
    parts = [_prefixed(graph, f"c{i}/") for i, graph in enumerate(graphs)]
    return Graph(
        tuple(v for p in parts for v in p.inputs),
        tuple(v for p in parts for v in p.outputs),
        tuple(n for p in parts for n in p.nodes),
        {v: t for p in parts for v, t in p.types.items()},
        {v: a for p in parts for v, a in p.constants.items()},
    )


def _prefixed(graph: Graph, prefix: str) -> Graph:
    def names(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(prefix + v if v else v for v in values)

    return replace(
        graph,
        inputs=names(graph.inputs),
        outputs=names(graph.outputs),
        nodes=tuple(Node(prefix + n.name, n.op, names(n.inputs), names(n.outputs), n.origin) for n in graph.nodes),
        types={prefix + v: t for v, t in graph.types.items()},
        constants={prefix + v: a for v, a in graph.constants.items()},
    )
