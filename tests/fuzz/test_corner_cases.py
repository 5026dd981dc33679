"""Models at the borders of what is valid: empty tensors, scalars, images of one pixel, nothing but padding."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith.codegen import generate
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device.local import Context, Program
from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.frontend.onnx import bind
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import build
from edgesmith.toolchain.compiler import system
from edgesmith.verify import accumulate
from instruction_sets import native_sets

pytestmark = pytest.mark.toolchain

Shapes = dict[str, tuple[int, ...]]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def model(
    inputs: Shapes, outputs: Shapes, constants: dict[str, np.ndarray], *nodes: tuple[str, str, str, dict[str, object]]
) -> onnx.ModelProto:
    """Nodes are (operator, inputs, outputs, attributes), names separated by blanks."""
    graph = helper.make_graph(
        [helper.make_node(op, x.split(), y.split(), f"n{i}", **more) for i, (op, x, y, more) in enumerate(nodes)],
        "corner",
        [helper.make_tensor_value_info(v, TensorProto.FLOAT, s) for v, s in inputs.items()],
        [helper.make_tensor_value_info(v, TensorProto.FLOAT, s) for v, s in outputs.items()],
        [numpy_helper.from_array(a, v) for v, a in constants.items()],
    )
    opset = helper.make_opsetid("", TARGET_OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=MAX_IR_VERSION)


def conv(x: tuple[int, ...], y: tuple[int, ...], w: np.ndarray, **more: object) -> onnx.ModelProto:
    return model({"x": x}, {"z": y}, {"w": w}, ("Conv", "x w", "y", more), ("Relu", "y", "z", {}))


def product(x: tuple[int, ...], w: np.ndarray, op: str = "MatMul") -> onnx.ModelProto:
    return model({"x": x}, {"y": (*x[:-1], w.shape[1])}, {"w": w}, (op, "x w", "y", {}))


CASES = {
    "no-images-pointwise": conv((0, 3, 5, 5), (0, 4, 5, 5), weights(4, 3, 1, 1)),
    "no-images": conv((0, 3, 5, 5), (0, 4, 5, 5), weights(4, 3, 3, 3), pads=[1] * 4),
    "no-images-depthwise": conv((0, 4, 5, 5), (0, 4, 5, 5), weights(4, 1, 3, 3), pads=[1] * 4, group=4),
    "no-rows": product((0, 4), weights(4, 3), "Gemm"),
    "no-terms": product((2, 0), weights(0, 3)),
    "no-columns": product((2, 3), weights(3, 0)),
    "nothing-joined": model(
        {"x": (2, 3), "e": (0, 3)},
        {"z": (2, 3)},
        {},
        ("Concat", "x e", "y", {"axis": 0}),
        ("Relu", "y", "z", {}),
    ),
    "scalars": model(
        {"x": (), "y": ()},
        {"z": (), "q": ()},
        {"k": np.float32(3) * np.ones((), np.float32)},
        ("Add", "x y", "a", {}),
        ("Mul", "a k", "z", {}),
        ("Relu", "z", "q", {}),
    ),
    "scalar-as-image": model(
        {"x": ()},
        {"z": (1, 2, 1, 1)},
        {"s": np.ones(4, np.int64), "w": weights(2, 1, 1, 1)},
        ("Reshape", "x s", "a", {}),
        ("Conv", "a w", "z", {}),
    ),
    "one-pixel": conv((1, 3, 1, 1), (1, 5, 3, 3), weights(5, 3, 3, 3), pads=[2] * 4),
    "one-pixel-depthwise": conv((1, 5, 1, 1), (1, 5, 3, 3), weights(5, 1, 3, 3), pads=[2] * 4, group=5),
    "padding-only-at-the-edges": conv((1, 2, 2, 2), (1, 3, 9, 9), weights(3, 2, 2, 2), pads=[4] * 4),
    # One channel joined along the columns, then along the channels: an axis of length 1 has any stride.
    "joined-twice": model(
        {"x": (1, 3, 4, 4)},
        {"o": (1, 2, 4, 8)},
        {
            n: weights(*s)
            for n, s in (("w", (1, 3, 1, 1)), ("v", (1, 3, 1, 1)), ("u", (6, 1, 1, 1)), ("t", (2, 7, 1, 1)))
        },
        ("Conv", "x w", "a", {}),
        ("Relu", "a", "r", {}),
        ("Conv", "x v", "b", {}),
        ("Concat", "r b", "y", {"axis": 3}),
        ("Conv", "y u", "q", {}),
        ("Concat", "q y", "z", {"axis": 1}),
        ("Conv", "z t", "o", {}),
    ),
}


@cache
def targets() -> tuple[str, ...]:
    return ("portable", *(f"native+{isa}" for isa in native_sets()))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str) -> None:
    given = CASES[name]
    graph, _ = optimize(bind(given))
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    expected = Oracle(given, optimized=False).run(feeds, graph.outputs)
    for target in targets():
        plan = make_plan(graph, parse(target))
        tolerances = accumulate(plan.graph, feeds).tolerances
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "src"
            source.mkdir()
            package = generate(plan, "corner", "test")
            package.write(source)
            flags = ("-O1", "-Werror")
            made = build(source, Path(folder), package.name, plan.target, system("gcc"), extra=flags, executable=False)
            program = Program(made["shared"], package.name)
        outputs = [np.full(t.shape, np.nan, np.float32) for t in program.outputs.values()]
        Context(program, 2).run(list(feeds.values()), outputs)
        for value, result in zip(graph.outputs, outputs, strict=True):
            difference = np.abs(result - expected[value]).max(initial=0)
            assert difference <= tolerances[value], f"{target} {value}"
