"""Attributes of ONNX nodes as bindings read them."""

from __future__ import annotations

import pytest

from edgesmith.errors import ModelError
from edgesmith.ops import OnnxNode

NODE = OnnxNode("Op", "the node", (), (), {"axis": 2, "p": 0.5, "pads": [1, 2], "none": [], "mode": b"x"}, {}, {})


def test_values_and_defaults() -> None:
    assert (NODE.integer("axis"), NODE.integer("other", -1), NODE.number("p"), NODE.number("q", 2.0)) == (2, -1, 0.5, 2)
    assert (NODE.integers("pads"), NODE.integers("none", (3,)), NODE.integers("other")) == ((1, 2), (3,), ())


@pytest.mark.parametrize("read", ["integer", "number"])
@pytest.mark.parametrize("name", ["other", "mode", "pads"])
def test_what_is_no_number_is_explained(read: str, name: str) -> None:
    with pytest.raises(ModelError, match=f"the node: attribute {name} "):
        getattr(NODE, read)(name)


@pytest.mark.parametrize("name", ["axis", "mode"])
def test_what_is_no_list_is_explained(name: str) -> None:
    with pytest.raises(ModelError, match=f"the node: attribute {name} "):
        NODE.integers(name)
