"""Transposes merged and moved."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import Op
from edgesmith.ops.add import Add
from edgesmith.ops.concat import Concat
from edgesmith.ops.functions import Exp, Tanh
from edgesmith.ops.mul import Mul
from edgesmith.ops.pad import Pad
from edgesmith.ops.reductions import ReduceMax, ReduceMean
from edgesmith.ops.relu import Relu
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.transpose import Transpose

from .graphs import Sketch, kinds, optimized

TO_NHWC, TO_NCHW = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))
RULES = ("move-transposes", "transpose-of-transpose", "identities", "dead-code")


def transposes(s: Sketch, *outputs: str) -> int:
    result, _ = optimized(s.graph(*outputs), *RULES)
    return kinds(result).count("Transpose")


def test_pairs() -> None:
    s = Sketch()
    x = s.add(Exp(), s.input(2, 3, 4, 5))
    y = s.add(Tanh(), s.add(TO_NCHW, s.add(TO_NHWC, x)))
    z = s.add(Transpose((3, 2, 1, 0)), s.add(TO_NHWC, x))
    result, _ = optimized(s.graph(y, z), *RULES)
    assert sorted(kinds(result)) == ["Exp", "Tanh", "Transpose"]


@pytest.mark.parametrize(
    "op",
    [
        Relu(),
        Pad((0, 1, 0, 2), (0, 0, 1, 0)),
        Slice((0, 1, 0, 4), (2, 2, 4, 2), (1, 1, 1, -2)),
        ReduceMean((1, 2)),
        ReduceMax((3,)),
    ],
    ids=str,
)
def test_one_operator_between(op: Op) -> None:
    s = Sketch()
    y = s.add(TO_NCHW, s.add(op, s.add(TO_NHWC, s.add(Exp(), s.input(2, 5, 4, 4)))))
    assert transposes(s, y) == 0


def test_constants_are_transposed() -> None:
    s = Sketch()
    x = s.add(TO_NHWC, s.add(Exp(), s.input(2, 3, 4, 5)))
    y = s.add(Mul(), s.add(Add(), x, s.random(3)), s.random(4, 1, 3))
    y = s.add(Add(), s.constant(1.5), y)
    assert transposes(s, s.add(TO_NCHW, y)) == 0


def test_concat_and_split() -> None:
    s = Sketch()
    a, b = (s.add(TO_NHWC, s.add(Exp(), s.input(1, 3, 4, 5))) for _ in range(2))
    parts = s.all(Split(3, (2, 4)), s.add(Tanh(), s.add(Concat(3), a, b)))
    assert transposes(s, *(s.add(TO_NCHW, p) for p in parts)) == 0


def test_two_become_one() -> None:
    s = Sketch()
    a, b = (s.add(TO_NHWC, s.add(Exp(), s.input(1, 3, 4, 5))) for _ in range(2))
    assert transposes(s, s.add(Relu(), s.add(Add(), a, b))) == 1


def test_residual_chain_with_a_side_exit() -> None:
    s = Sketch()
    x = s.add(TO_NHWC, s.add(Exp(), s.input(1, 3, 4, 5)))
    y = s.add(Add(), s.add(Relu(), x), x)
    z = s.add(TO_NCHW, s.add(Tanh(), y))
    w = s.add(TO_NCHW, y)
    assert transposes(s, z, w) == 0


def test_no_gain_no_move() -> None:
    s = Sketch()
    y = s.add(Tanh(), s.add(TO_NHWC, s.add(Exp(), s.input(1, 3, 4, 5))))
    graph = s.graph(y)
    result, report = optimized(graph, *RULES)
    assert result is graph
    assert report.reasons("transpose1") == {"move-transposes": "moving it would leave 1 transposes for 1"}


def test_other_ranks_hold_it() -> None:
    s = Sketch()
    x = s.add(TO_NHWC, s.add(Exp(), s.input(1, 3, 4, 5)))
    graph = s.graph(s.add(TO_NCHW, s.add(Add(), x, s.add(Exp(), s.input(3)))))
    result, report = optimized(graph, *RULES)
    assert kinds(result).count("Transpose") == 2 and report.skipped


def test_random_regions() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        s = Sketch()
        values = [s.add(TO_NHWC, s.add(Exp(), s.input(3, 3, 3, 3))) for _ in range(2)]
        for _ in range(8):
            a, b = (values[i] for i in rng.integers(0, len(values), 2))
            op = rng.choice(5)
            if op == 0:
                values.append(s.add(Add(), a, b))
            elif op == 1:
                values.append(s.add(Tanh(), a))
            elif op == 2:
                values.append(s.add(Mul(), a, s.random(3)))
            elif op == 3:
                values.append(s.add(TO_NCHW, a))
            else:
                values.append(s.add(Transpose(tuple(int(i) for i in rng.permutation(4))), a))
        graph = s.graph(*values[-3:])
        result, _ = optimized(graph, *RULES)
        assert kinds(result).count("Transpose") <= kinds(graph).count("Transpose")
