"""Prepared modules in files and in states."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
import torch
from torch import fx, nn

from edgesmith.compress import qat
from edgesmith.compress.qat.graph_state import restored, stored
from edgesmith.errors import BadInput

from .qat_networks import Plain, Residual, Signed, inputs, trained

pytestmark = pytest.mark.torch


def prepared(kind: type[nn.Module], **settings: Any) -> qat.QuantizedModule:
    return qat.prepare(trained(kind), inputs(kind, 2, 1), qat.Settings(**settings), init=[inputs(kind, 8, 2)])


@pytest.mark.parametrize(
    ("saved", "present", "told"),
    [
        (
            {},
            {"weight_bits": 4},
            "conv1.quantizer: the state is of integers from -127 to 127, the module has .* -7 to 7",
        ),
        ({"weights": "twn"}, {"weights": "binary"}, "the state is of weights twn, the module has weights binary"),
        ({"weights": "inq", "weight_bits": 4}, {"weights": "inq"}, "of integers from -8 to 8, .* from -64 to 64"),
        ({"activations": "pact"}, {}, "quantizers.*: the state is of values pact, the module has values lsq"),
        (
            {"weights": "binary", "keep": ("stem", "fc"), "activations": "signs"},
            {"weights": "binary", "keep": ("stem", "fc")},
            "conv1: the state is of reads SIGNS, the module has reads INTEGERS",
        ),
    ],
    ids=["bits", "quantiser", "powers of two", "values", "signs"],
)
def test_states_of_other_integers_are_refused(saved: dict[str, Any], present: dict[str, Any], told: str) -> None:
    kind = Signed if "activations" in saved else Plain
    state = prepared(kind, **saved).state_dict()
    module = prepared(kind, **present)
    with pytest.raises(BadInput, match=told):
        module.load_state_dict(state, strict=False)


def test_state_of_a_changed_module_is_of_its_bits() -> None:
    module, same = prepared(Plain), prepared(Plain, weight_bits=4)
    qat.change(module, qat.Settings(weight_bits=4))
    same.load_state_dict(module.state_dict())
    with pytest.raises(BadInput, match="from -7 to 7"):
        prepared(Plain).load_state_dict(module.state_dict())


def test_whole_modules_are_saved() -> None:
    module, x = prepared(Residual, weight_bits=5), inputs(Residual, 4, 3)
    module.train()(x).square().mean().backward()
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (torch.load(file, weights_only=False), pickle.loads(pickle.dumps(module))):
        assert isinstance(other, qat.QuantizedModule) and other.training
        assert [n.name for n in other.graph.nodes] == [n.name for n in module.graph.nodes]
        assert torch.equal(other.eval()(x), module.eval()(x))
        assert qat.convert(other).graph.digest == qat.convert(module).graph.digest
        other.train()(x).sum().backward()
        assert all(p.grad is not None for p in other.parameters())


def test_long_graphs_are_pickled() -> None:
    """Nodes know their neighbours, so that pickling a graph itself would recurse through all of it."""
    graph = fx.symbolic_trace(nn.Sequential(*(nn.ReLU() for _ in range(2000)))).graph
    again = restored(pickle.loads(pickle.dumps(stored(graph))))
    assert str(again) == str(graph)
