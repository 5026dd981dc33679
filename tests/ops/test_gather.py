"""Gather, GatherElements, GatherND: indices that lie outside, constant indices as views and copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith.errors import ModelError
from edgesmith.ir import View
from edgesmith.ops import OPS, Operator
from edgesmith.ops.gather import Gather, Take

from .portable_c import check_portable
from .single_node import SingleNode

WILD = np.array([0, 4, 5, -5, -6, 99, -(2**63), 2**63 - 1])


@pytest.mark.toolchain
def test_indices_outside_stay_inside_the_operand(tmp_path: Path) -> None:
    """The reference clamps; the address sanitizer watches the portable C."""
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    elements, nd = OPS["GatherElements"], OPS["GatherND"]
    uses: list[tuple[Operator, list[np.ndarray | None]]] = [
        (Gather(0), [x, WILD]),
        (Gather(1), [x, WILD.reshape(2, 4)]),
        (Gather(0), [x, np.array([7, -9], np.int32)]),
        (elements(0), [x, np.stack([WILD] * 3, axis=1)]),
        (nd(), [x, np.stack([WILD, WILD[::-1]], axis=1)]),
    ]
    check_portable(uses, tmp_path)
    np.testing.assert_array_equal(Gather(0).reference(x[:, 0], WILD)[0], [0, 12, 12, 0, 0, 12, 0, 12])


def test_constant_index_outside_is_refused() -> None:
    x = np.zeros((5, 3), np.float32)
    with pytest.raises(ModelError, match="outside"):
        _ = SingleNode("Gather", {}, [x, np.array([5])], frozenset({1})).graph


@pytest.mark.parametrize(
    ("indices", "views", "copies"),
    [
        (np.array(3), True, 1),
        (np.array([4, 2, 0]), True, 1),
        (np.array([2, 2, 2]), True, 1),
        (np.array([0, 1, 2, 4, 4]), False, 2),
        (np.array([[0, 1], [3, 2]]), False, 2),
    ],
)
def test_constant_indices_become_views_or_copies(indices: np.ndarray, views: bool, copies: int) -> None:
    x = np.zeros((2, 5), np.float32)
    case = SingleNode("Gather", {"axis": 1}, [x, indices], frozenset({1}))
    op = case.op
    assert isinstance(op, Take)
    source = View.dense(case.graph.type("x0"))
    (view,) = op.views(source)
    assert (view is not None) == views
    assert view is None or view.shape == case.expected()[0].shape
    found = op.copies([source], [View.dense(case.graph.type("y0"))])
    assert found is not None and len(found) == copies


def test_many_scattered_constant_indices_stay_an_operand() -> None:
    indices = np.random.default_rng(1).integers(0, 99, 200)
    case = SingleNode("Gather", {}, [np.zeros((99, 2), np.float32), indices], frozenset({1}))
    assert isinstance(case.op, Gather)
