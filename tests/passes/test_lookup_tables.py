"""Functions of one byte as tables."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph, Op
from edgesmith.ops import OPS
from edgesmith.ops.add import Add
from edgesmith.ops.conv import Conv
from edgesmith.ops.lookup import Lookup
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu
from edgesmith.ops.softmax import Softmax
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize

from .graphs import kinds
from .quantized import QuantizedSketch, integers

RULES = frozenset(("lookup-tables", "dead-code"))
POINTWISE = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))


def tabulated(graph: Graph) -> Graph:
    """The graph after the pass, bit for bit the original's results."""
    result, report = optimize(graph, RULES)
    assert report.settled
    feeds = {}
    for value in graph.inputs:
        t = graph.type(value)
        every = np.resize(np.arange(256), t.shape)
        feeds[value] = every.astype(np.uint8).view(t.dtype.numpy) if t.dtype.itemsize == 1 else (every - 128) / 25
        feeds[value] = feeds[value].astype(t.dtype.numpy)
    expected, found = graph.reference(feeds), result.reference(feeds)
    for value in graph.outputs:
        np.testing.assert_array_equal(found[value], expected[value], err_msg=value)
    exported = Oracle(to_onnx(result), optimized=False).run(feeds)
    for value in graph.outputs:
        assert np.abs(exported[value].astype(np.float64) - expected[value]).max(initial=0) <= 1
    return result


def bytes_in(s: QuantizedSketch, *shape: int, kind: DType = DType.U8) -> str:
    return s.input(*shape, dtype=kind)


FUNCTIONS = ("Sigmoid", "Tanh", "Swish", "Gelu", "Softplus", "Elu", "Mish", "Exp")


@pytest.mark.parametrize("kind", [DType.U8, DType.I8])
@pytest.mark.parametrize("to", [DType.U8, DType.I8])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_between_conversions(name: str, kind: DType, to: DType) -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128, kind=kind), 0.05, 100)
    result = tabulated(s.graph(s.q(s.add(OPS[name](), x), 0.01, 3, to)))
    assert kinds(result) == ["Lookup"]


def test_chain_of_functions() -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128), 0.05, 128)
    y = s.add(Mul(), s.add(OPS["Tanh"](), s.add(Add(), x, s.constant(0.5))), s.constant(3.0))
    assert kinds(tabulated(s.graph(s.q(y, 0.02, 128)))) == ["Lookup"]


@pytest.mark.parametrize("step", [False, True])
def test_swish_in_parts_is_one_table(step: bool) -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128), 0.05, 128)
    gate = s.add(OPS["Sigmoid"](), x)
    gate = s.qdq(gate, 1 / 255, 0) if step else gate
    result = tabulated(s.graph(s.q(s.add(Mul(), x, gate), 0.04, 10)))
    assert kinds(result) == ["Lookup"]


@pytest.mark.parametrize("step", [False, True])
@pytest.mark.parametrize("form", ["erf", "tanh"])
def test_gelu_in_parts_is_one_table(form: str, step: bool) -> None:
    """As exporters write it, with and without conversions between the operators."""
    s = QuantizedSketch()

    def stored(value: str, scale: float) -> str:
        return s.qdq(value, scale) if step else value

    x = s.dq(bytes_in(s, 2, 128), 0.03, 128)
    if form == "erf":
        inner = stored(s.add(OPS["Div"](), x, s.constant(2**0.5)), 0.03)
        gate = s.add(OPS["Erf"](), inner)
    else:
        cube = stored(s.add(OPS["Pow"](), x, s.constant(3.0)), 0.5)
        inner = s.add(Add(), x, s.add(Mul(), cube, s.constant(0.044715)))
        gate = s.add(OPS["Tanh"](), stored(s.add(Mul(), inner, s.constant((2 / np.pi) ** 0.5)), 0.03))
    gate = s.add(Add(), stored(gate, 1 / 127), s.constant(1.0))
    y = s.add(Mul(), s.add(Mul(), x, stored(gate, 2 / 127)), s.constant(0.5))
    result = tabulated(s.graph(s.q(y, 0.02, 10)))
    assert kinds(result) == ["Lookup"]
    if not step:
        exact = OPS["Gelu"](form if form == "tanh" else "none")
        (real,) = exact.reference((np.arange(256, dtype=np.float32) - 128) * np.float32(0.03))
        (table,) = (a for a in result.constants.values() if a.size == 256)
        assert np.abs(table - np.clip(np.rint(real / 0.02) + 10, 0, 255)).max() <= 1


def test_exponentials_are_one_table() -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128, kind=DType.I8), 0.05, 0)
    e = s.add(OPS["Exp"](), s.add(OPS["Neg"](), x))
    y = s.add(OPS["Div"](), s.constant(1.0), s.add(Add(), s.constant(1.0), e))
    assert kinds(tabulated(s.graph(s.q(y, 1 / 255, 0)))) == ["Lookup"]


def test_arithmetic_is_no_table() -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128), 0.05, 128)
    # Kernels choose between floats and a table: both are exact.
    outputs = [s.q(s.add(op, x), 0.04, 10) for op in (Relu(), OPS["HardSwish"](), OPS["HardSigmoid"]())]
    assert "Lookup" not in kinds(tabulated(s.graph(*outputs)))


def test_dequantised_value_with_other_readers() -> None:
    s = QuantizedSketch()
    x = s.dq(bytes_in(s, 2, 128), 0.05, 128)
    result = tabulated(s.graph(s.q(s.add(OPS["Tanh"](), x), 0.01, 128), s.add(Relu(), x)))
    assert sorted(kinds(result)) == ["DequantizeLinear", "Lookup", "Relu"]


def _read_between(s: QuantizedSketch) -> tuple[str, ...]:
    y = s.add(OPS["Tanh"](), s.dq(bytes_in(s, 2, 128), 0.05, 128))
    return s.q(y, 0.01, 128), y


def _two_values(s: QuantizedSketch) -> tuple[str, ...]:
    x, z = (s.dq(bytes_in(s, 2, 128), 0.05, 128) for _ in range(2))
    return (s.q(s.add(Mul(), x, s.add(OPS["Sigmoid"](), z)), 0.02, 128),)


def _array(s: QuantizedSketch) -> tuple[str, ...]:
    x = s.dq(bytes_in(s, 2, 128), 0.05, 128)
    return (s.q(s.add(OPS["Tanh"](), s.add(Mul(), x, s.random(128))), 0.01, 128),)


def _rows(s: QuantizedSketch) -> tuple[str, ...]:
    return (s.q(s.add(Softmax(1), s.dq(bytes_in(s, 2, 128), 0.05, 128)), 1 / 255, 0),)


def _wide(s: QuantizedSketch) -> tuple[str, ...]:
    x = s.dq(s.input(2, 128, dtype=DType.I16), 0.01, 0)
    return (s.q(s.add(OPS["Tanh"](), x), 0.01, 128),)


def _to_wide(s: QuantizedSketch) -> tuple[str, ...]:
    return (s.q(s.add(OPS["Tanh"](), s.dq(bytes_in(s, 2, 128), 0.05, 128)), 1e-4, 0, DType.I16),)


@pytest.mark.parametrize(
    "build", [_read_between, _two_values, _array, _rows, _wide, _to_wide], ids=lambda f: f.__name__.strip("_")
)
def test_what_is_no_function_of_one_byte(build) -> None:  # type: ignore[no-untyped-def]
    s = QuantizedSketch()
    assert "Lookup" not in kinds(tabulated(s.graph(*build(s))))


@pytest.mark.parametrize("stored", [True, False])
def test_function_of_sums_stays_an_epilogue(stored: bool) -> None:
    s = QuantizedSketch()
    y = s.add(Conv(POINTWISE), s.activation(1, 3, 8, 8), s.weights(4, 3, 1, 1))
    y = s.qdq(y, 0.1) if stored else y
    result, _ = integers(s.graph(s.q(s.add(OPS["Sigmoid"](), y), 1 / 255, 0)), layers=2)
    assert ("Lookup" in kinds(result)) == stored


def test_table_is_stored_as_it_is_read() -> None:
    table = np.arange(256, dtype=np.uint8)[::-1].copy()
    (up,) = Lookup().reference(np.arange(256, dtype=np.uint8), table)
    (signed,) = Lookup().reference(np.arange(-128, 128, dtype=np.int16).astype(np.int8), table)
    np.testing.assert_array_equal(up, table)
    np.testing.assert_array_equal(signed, np.roll(table, 128))
    assert isinstance(Lookup(), Op)
