"""What lies between layers: factors, normalisations, values that are read twice. The module, its model and the program
compute the same, and the layers around stay integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from edgesmith.compress import qat
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.torch


class Around(nn.Module):
    """Three layers, and code of one's own between them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.middle = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.code(self.first(x).relu()).mean((2, 3)))

    def code(self, x: Tensor) -> Tensor:
        return self.middle(x)


class LayerScale(Around):
    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.linspace(-0.5, 1.5, 12).reshape(12, 1, 1))
        if start is not None:
            nn.init.constant_(self.factor, start)

    def code(self, x: Tensor) -> Tensor:
        return x + self.factor * self.middle(x)


class StartsAsOne(LayerScale):
    """What multiplies by 1 is nothing to the compiler, until training changes it."""

    def __init__(self) -> None:
        super().__init__(1.0)


class StartsAsNothing(LayerScale):
    def __init__(self) -> None:
        super().__init__(0.0)


class Scaled(Around):
    def code(self, x: Tensor) -> Tensor:
        return x + self.middle(x) * 0.2 / 3


class Normalised(Around):
    """Its input is normalised by the network itself."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.4) / torch.tensor([0.5, 0.6, 0.7]).reshape(3, 1, 1))


class PreActivation(Around):
    """Batch normalisation before layers, one of them without padding, into which a compiler would fold it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner, self.pointwise = nn.BatchNorm2d(12), nn.BatchNorm2d(12), nn.Conv2d(12, 12, 1)
        for norm in (self.norm, self.inner):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)

    def code(self, x: Tensor) -> Tensor:
        return x + self.pointwise(self.inner(self.middle(self.norm(x).relu()).relu()))


class FunctionalNorm(Around):
    """A normalisation that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.square = nn.Parameter(torch.randn(12)), nn.Parameter(torch.rand(12) + 0.5)

    def code(self, x: Tensor) -> Tensor:
        return functional.batch_norm(self.middle(x), self.shift.detach(), self.square.detach(), None, self.shift).relu()


class RootMeanSquare(Around):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(12)

    def code(self, x: Tensor) -> Tensor:
        return self.middle(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class CalledTwice(Around):
    """The same layer, and the same function, of one value."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x) + self.middle(functional.relu(self.first(x)))
        return self.last((self.middle(functional.relu(y)) + functional.relu(y)).mean((2, 3)))


NETWORKS = (
    *(LayerScale, StartsAsOne, StartsAsNothing, Scaled, Normalised),
    *(PreActivation, FunctionalNorm, RootMeanSquare, CalledTwice),
)


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_trained_is_the_model_and_the_program(kind: type[Around]) -> None:
    """Up to roundings of f32, which the program has fewer of; these inputs have no number near a tie."""
    generator = torch.Generator().manual_seed(5)
    batches = [torch.randn(8, 3, 8, 8, generator=generator) for _ in range(3)]
    network = kind().eval()
    module = qat.prepare(network, batches[0][:2], init=batches)
    exact = network(batches[1]).detach()
    assert not module.quantization.floats
    assert (module(batches[1]) - exact).norm() < 0.05 * exact.norm()
    optimizer = torch.optim.Adam(qat.parameter_groups(module, lr=0.01))
    for steps in (0, 2):
        for _ in range(steps):
            module.train()(batches[2]).square().mean().backward()
            optimizer.step()
        x = batches[1][:2]
        mine = module.eval()(x).detach().numpy()
        converted = qat.convert(module)
        oracle = Oracle(converted.model, optimized=False)
        (theirs,) = oracle.run({oracle.inputs[0]: x.numpy()}).values()
        close = {"rtol": 0, "atol": 1e-5 * float(np.abs(mine).max())}
        np.testing.assert_allclose(mine, theirs, **close)
        np.testing.assert_allclose(mine, qat.simulate(module)(x).numpy(), **close)
        integers = [n for n in qat.simulate(module).graph.nodes if n.op.name in ("ConvInteger", "MatMulInteger")]
        assert len(integers) >= len({id(layer.weight) for _, layer in qat.layers(module)}) and not converted.floats
