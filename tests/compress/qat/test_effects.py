"""Networks that write over values: their rounded copies compute the same function, or are refused."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesmith.compress import qat
from edgesmith.compress.qat.trace import traced
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Around(nn.Module):
    """Layers with code between them."""

    def __init__(self, code) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 3)
        self.relu, self.same = nn.ReLU(inplace=True), nn.Identity()
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.code(self, self.first(x)))


def operators(net, y):
    kept = y
    y += net.middle(y)
    y *= 2.0
    y -= 0.5
    y /= 3.0
    return y + kept


def method(net, y):
    kept = y
    y.add_(net.middle(y)).clamp_(min=-0.5)
    return y + kept


def shortcut_that_is_the_same_tensor(net, y):
    shortcut = net.same(y)
    return net.middle(net.relu(y)) + shortcut


def dropout_in_evaluation(net, y):
    z = F.dropout(y, 0.1, net.training)
    z.mul_(3.0)
    return y + z


def contiguous(net, y):
    y.contiguous().mul_(3.0)
    return y


def same_dtype(net, y):
    y.float().sub_(0.25)
    return y


def whole_view(net, y):
    y.view(y.shape)[:, :4] = 0.5
    return net.middle(y)


def functions(net, y):
    kept = y
    torch.relu_(y)
    F.hardtanh(y, -0.5, 0.5, True)
    torch.add(y, 1.0, out=y)
    return kept


def function_of_an_attribute(net, y):
    return y + F.relu(y, inplace=net.relu.inplace)


def halves(net, y):
    a, b = y.chunk(2, 1)
    a.mul_(2.0)
    return torch.cat([a, b], 1)


def steps(net, y):
    y = y.clone()
    part = y[:, :, ::2]
    other = y[:, :, 1::2]
    part.add_(1.0)
    return torch.cat([part, other], 2)


def items(net, y):
    y[:, :, :3] = 0
    return y


def filled(net, y):
    y = y + torch.empty(y.shape[0], 1, 1, 1).fill_(0.5) + torch.zeros(y.shape[0], 8, 1, 1).copy_(y[:, :, :1, :1])
    z = y * 1
    z.zero_()
    return y + z


def shape_alone(net, y):
    y.unsqueeze_(0)
    y.squeeze_(0)
    return y


def alias_then_twice(net, y):
    shortcut = net.same(y)
    z = net.relu(y)
    shortcut.add_(1.0)
    z.mul_(2.0)
    return y + z + shortcut


@pytest.mark.parametrize(
    "code",
    [
        operators,
        method,
        shortcut_that_is_the_same_tensor,
        dropout_in_evaluation,
        contiguous,
        same_dtype,
        whole_view,
        functions,
        function_of_an_attribute,
        halves,
        steps,
        items,
        filled,
        shape_alone,
        alias_then_twice,
    ],
)
def test_written_values_are_read_as_they_are_then(code) -> None:
    module = Around(code).eval()
    x = X.clone()
    with torch.no_grad():
        expected = module(X.clone())
        found = traced(module, x).graph
        torch.testing.assert_close(found(x), expected, rtol=1e-6, atol=1e-6)
        rounded = qat.prepare(module, X, init=[X]).eval()
        assert (rounded(X) - expected).norm() < 0.05 * expected.norm()
    assert torch.equal(x, X) and module.relu.inplace
    rounded.train()(X).square().mean().backward()
    assert all(p.grad is not None for p in rounded.first.parameters())


def part(net, y):
    y[:, :, :3].mul_(0)
    return y


def part_by_operator(net, y):
    some = y[:, 2:5]
    some += 1.5
    return y


def view_taken_before(net, y):
    flat = y.flatten(2)
    y.mul_(3.0)
    return y + flat.mean()


def overlapping_parts(net, y):
    some, others = y[:, :5], y[:, 4:]
    some.mul_(2.0)
    return torch.cat([some[:, :4], others], 1)


@pytest.mark.parametrize("code", [part, part_by_operator, view_taken_before, overlapping_parts])
def test_parts_of_what_is_read_afterwards_are_refused(code) -> None:
    with pytest.raises(BadInput, match="writes over a part of a value that is read afterwards"):
        traced(Around(code).eval(), X)


class Clamped(nn.Linear):
    """A layer of one's own that writes over its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_(0, 1))


class Opaque(nn.Module):
    """Code that depends on values, with a layer that writes over its input."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x) if float(x.sum()) < 1e9 else x


def test_layers_that_write_by_their_own_code_are_refused() -> None:
    with pytest.raises(BadInput, match="writes over its input"):
        traced(nn.Sequential(nn.Linear(3, 4), Clamped(4, 2)).eval(), torch.randn(2, 3))


def test_layers_inside_of_what_cannot_be_traced_leave_their_input_alone() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.opaque = nn.Linear(3, 4), Opaque()

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.opaque(y) + y

    module, x = Shortcut().eval(), torch.randn(5, 3)
    with torch.no_grad():
        torch.testing.assert_close(traced(module, x).graph(x), module(x))


def test_written_tensors_are_read_as_they_are_then() -> None:
    def code(net, y):
        y[:, 2:4] = y[:, 4:6] * 2
        y[:, :, 0] = net.middle(y)[:, :, 1]
        return y

    module = Around(code).eval()
    with torch.no_grad():
        torch.testing.assert_close(traced(module, X).graph(X), module(X.clone()))


def test_operators_have_their_forms() -> None:
    def bits(net, y):
        mask = y > 0
        mask &= y < 0.3
        mask |= y < -1
        mask ^= y > 2
        z = y * 10
        z //= 2
        z %= 5
        z **= 2
        return torch.where(mask, y, z)

    module = Around(bits).eval()
    found = traced(module, X).graph
    with torch.no_grad():
        torch.testing.assert_close(found(X), module(X.clone()))
    assert not {n.target for n in found.graph.nodes} & {operator.iand, operator.ior, operator.ipow, operator.imod}
