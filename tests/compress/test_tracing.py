"""Tracing: shapes, control flow that shapes decide, leaves with a reason."""

import builtins

import pytest
import torch
from torch import nn

from edgesmith.compress.tracing import Shape, inputs_of, trace
from edgesmith.errors import BadInput, ModelError

pytestmark = pytest.mark.torch


class ByShape(nn.Module):
    """Branches, lengths, unpacking and defaults, all decided by shapes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x, mask=None):
        batch, channels, height, width = x.shape
        if channels == 3 and x.ndim == 4:
            x = self.conv(x) * self.scale
        if mask is not None:
            x = x * mask
        parts = x.chunk(2, 1)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.reshape(batch, len(parts), height * width)


def test_graph_shares_parameters_and_knows_shapes():
    module, x = ByShape().train(), torch.randn(2, 3, 6, 5)
    traced = trace(module, x)
    assert module.training
    assert traced.graph.conv is module.conv
    torch.testing.assert_close(traced.graph(x), module(x))
    values = {node.name: node.meta["value"] for node in traced.graph.graph.nodes if "value" in node.meta}
    assert values["conv"] == Shape((2, 4, 6, 5), torch.float32)
    assert values["reshape"] == Shape((2, 2, 30), torch.float32)
    assert [v for name, v in values.items() if name.startswith("getattr")] == [(2, 3, 6, 5), 4]
    assert not traced.opaque


def test_defaults_are_kept_unless_the_example_gives_them():
    module = ByShape()
    x, mask = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, 4)
    placeholders = [n for n in trace(module, (x, mask)).graph.graph.nodes if n.op == "placeholder"]
    assert [n.name for n in placeholders] == ["x", "mask"]


class DependsOnValues(nn.Module):
    def forward(self, x):
        return -x if x.sum() > 0 else x


def test_submodule_that_looks_at_values_is_a_leaf_with_a_reason():
    module = nn.Sequential(nn.Linear(3, 3), nn.Sequential(DependsOnValues()))
    traced = trace(module, torch.randn(2, 3))
    assert list(traced.opaque) == ["1.0"]
    assert "TraceError" in traced.opaque["1.0"]
    assert [n.target for n in traced.graph.graph.nodes if n.op == "call_module"] == ["0", "1.0"]
    for x in torch.randn(4, 2, 3):
        torch.testing.assert_close(traced.graph(x), module(x))


def test_refusals():
    with pytest.raises(ModelError, match="forward cannot be traced"):
        trace(DependsOnValues(), torch.ones(2))
    with pytest.raises(BadInput, match="does not run on the example"):
        trace(nn.Linear(3, 3), torch.ones(1, 4))


def test_inputs_stay_as_they_are():
    class InPlace(nn.Module):
        def forward(self, x):
            return x.mul_(0.5).relu_() if x.shape[0] == 1 else x

    module, x = nn.Sequential(InPlace()), torch.ones(1, 3)
    traced = trace(module, x)
    assert len([n for n in traced.graph.graph.nodes if n.op == "call_method"]) == 2
    assert torch.equal(x, torch.ones(1, 3))


class _Sum(nn.Module):
    def forward(self, x, y, scale=1.0):
        return (x + y) * scale


class _Any(nn.Module):
    def forward(self, *inputs):
        return sum(inputs)


def test_batches_of_training_loops_serve_as_inputs():
    x, y, labels = torch.zeros(2), torch.ones(2), torch.arange(2)
    plain = nn.Sequential(nn.ReLU())
    assert inputs_of(plain, x) == (x,)
    assert inputs_of(plain, (x, labels)) == (x,) == inputs_of(plain, [x])
    assert inputs_of(_Sum(), (x, y)) == (x, y) == inputs_of(_Sum(), [x, y, labels])
    assert inputs_of(_Any(), (x, y, labels)) == (x, y)
    assert inputs_of(_Any(), (x,)) == (x,)


class Mutating(nn.Module):
    """Passes a list to a function that changes it, and asks where its input is."""

    def forward(self, x):
        with torch.autocast(device_type=x.device.type, enabled=False):
            return halved(x, [2, 3])


@torch.fx.wrap
def halved(x, sizes):
    sizes[0] = 1
    return x[:, : sizes[0]]


def test_functions_that_change_their_lists_and_devices_by_name():
    module, x = nn.Sequential(Mutating()), torch.randn(2, 3)
    traced = trace(module, x)
    assert not traced.opaque
    torch.testing.assert_close(traced.graph(x), x[:, :1])


@torch.fx.wrap
def by_shape(x):
    """Which way is taken, torch.fx alone could not tell; tuples it could not unpack."""
    rows = x.new_zeros(x.shape)
    rows[:, : x.shape[1] // 2] = 1 if x.shape[0] > 1 else 2
    return (rows, x) if x.ndim == 2 else (x, rows)


@torch.fx.wrap
def by_value(x):
    return x if x.sum() > 0 else -x


class MarkedByShape(nn.Module):
    def forward(self, x):
        first, second = by_shape(x)
        return first + second


class MarkedByValue(nn.Module):
    def forward(self, x):
        return by_value(x)


def called(traced):
    return [getattr(n.target, "__name__", n.target) for n in traced.graph.graph.nodes if n.op == "call_function"]


def test_marked_functions_are_followed_where_they_can_be():
    module, x = nn.Sequential(MarkedByShape(), MarkedByValue()), torch.randn(2, 4)
    traced = trace(module, x)
    assert not traced.opaque
    assert "setitem" in called(traced) and "by_shape" not in called(traced) and called(traced)[-1] == "by_value"
    for sign in (1, -1):
        torch.testing.assert_close(traced.graph(sign * x), module(sign * x))
    assert by_value(-torch.ones(1)) == 1


def test_marked_function_in_the_module_s_own_code_stays_a_call():
    assert called(trace(MarkedByValue(), torch.ones(2))) == ["by_value"]


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_what_cannot_be_copied_is_refused():
    module, x = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4))), torch.randn(2, 3)
    module(x)
    with pytest.raises(BadInput, match="0: 'weight' is a result that gradients flow through"):
        trace(module, x)
    with torch.no_grad():
        module(x)
    assert not trace(module, x).opaque


class InPlace(nn.Module):
    """``+=`` on what has other names, on a part, and on numbers."""

    def forward(self, x):
        y = x * 2
        kept, part = y, y[:, 1:]
        y += x
        part -= 1.0
        channels = x.shape[1]
        channels += 1
        channels //= 2
        return y + kept * channels


def test_operators_in_place_write_over_what_they_are_called_on():
    module, x = InPlace(), torch.randn(2, 3, 4)
    traced = trace(module, x)
    torch.testing.assert_close(traced.graph(x), module(x))
    writing = {n.name: n.meta["writes"] for n in traced.graph.graph.nodes if n.meta.get("writes") is not None}
    assert writing == {"iadd": 0, "isub": 0}
    memory = {n.name: n.meta["memory"] for n in traced.graph.graph.nodes if "memory" in n.meta}
    assert memory["iadd"] == memory["mul"] != memory["getitem"] == memory["isub"]
    assert memory["getitem"][0].overlaps(memory["mul"][0])


class Recurrent(nn.Module):
    """A state that begins as a tensor of the batch's size."""

    def __init__(self):
        super().__init__()
        self.read, self.keep = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        state = torch.zeros(x.shape[0], 4)
        state = state + torch.full((x.shape[0], 1), 0.5) + torch.tensor(x.shape[1]) + torch.arange(x.shape[2] + 1)
        for t in range(x.shape[1]):
            state = torch.tanh(self.read(x[:, t]) + self.keep(state))
        return state


def test_tensors_that_code_makes_are_as_large_as_the_batch():
    module = Recurrent()
    traced = trace(module, torch.randn(2, 5, 3))
    x = torch.randn(7, 5, 3)
    torch.testing.assert_close(traced.graph(x), module(x))
    assert torch.zeros.__name__ == "zeros" and torch.zeros(2).shape == (2,)


class Centred(nn.Module):
    """The length of a batch as a number, that of a list of outputs, and a loop over one."""

    def forward(self, x):
        parts = x.split(1, 1)
        total = x.sum(0) / len(x)
        for i in range(len(parts)):
            total = total + parts[i].mean() * len(parts)
        return x - total if len(x.shape) == 3 else x


def test_the_length_of_a_batch_is_no_number_of_the_example():
    module = Centred()
    traced = trace(module, torch.randn(2, 3, 4))
    x = torch.randn(7, 3, 4)
    torch.testing.assert_close(traced.graph(x), module(x))
    assert len is builtins.len and len([1, 2]) == 2


def test_hooks_that_change_what_is_computed_are_refused():
    x, seen = torch.randn(2, 3, 5, 5), []
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 2, 1)))
    module[1].register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    module[0].register_forward_pre_hook(lambda layer, inputs: None)
    torch.testing.assert_close(trace(module, x).graph(x), module(x))
    assert seen
    handle = module[1][0].register_forward_hook(lambda layer, inputs, output: output * 2)
    with pytest.raises(BadInput, match=r"^1\.0: a forward hook"):
        trace(module, x)
    handle.remove()
    module[0].register_forward_pre_hook(lambda layer, inputs: (inputs[0] + 1,))
    with pytest.raises(BadInput, match=r"^0: a forward hook"):
        trace(module, x)
    assert len(module[0]._forward_pre_hooks) == 2
