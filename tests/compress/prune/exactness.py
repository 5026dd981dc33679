"""What every pruned network must be: the original with the removed channels at zero."""

import copy

import numpy as np
import torch
from torch import fx, nn

from edgesmith.compress import counting
from edgesmith.compress.prune import analyse, apply_shape, cut


def randomise(module, seed=0):
    """Weights and statistics of normalisations that let every channel matter."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm) and part.weight is not None:
            part.weight.data = torch.rand(part.weight.shape, generator=generator) + 0.5
            part.bias.data = torch.randn(part.bias.shape, generator=generator)
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean = torch.randn(part.running_mean.shape, generator=generator) * 0.1
    return module.eval()


def check(module, example, part=0.5, seed=0, tolerance=1e-5, graph=False, groups=None):
    """Remove units at random; the result must equal the original without the weights that make and read them.

    Weights of removed channels are set to zero in a copy, so normalisations over channels must not see them.
    """
    randomise(module, seed)
    structure = analyse(module, example)
    generator = np.random.default_rng(seed)
    kept = {}
    for group in structure.groups:
        if groups is None or group.name in groups:
            count = max(1, round((1 - part) * group.size))
            kept[group.name] = np.sort(generator.permutation(group.size)[:count])
    assert kept, structure.untouched
    pruned, shape = cut(structure, kept)
    assert isinstance(pruned, fx.GraphModule) == graph
    inputs = example if isinstance(example, tuple) else (example,)
    expected, got = zeroed(structure, kept)(*inputs), pruned(*inputs)
    compare(expected, got, tolerance)
    counts = np.array([len(kept.get(g.name, range(g.size))) for g in structure.groups])
    assert structure.macs(counts) == counting.macs(pruned, example) < structure.macs() == counting.macs(module, example)
    assert structure.parameters(counts) == counting.parameters(pruned) < counting.parameters(module)
    again = apply_shape(module, shape.to_json(), example)
    again.load_state_dict(pruned.state_dict())
    compare(got, again.eval()(*inputs), 0)
    return structure, kept, pruned


def zeroed(structure, kept):
    """A copy of the original with zeros wherever a weight makes or reads a removed channel."""
    module, stays = copy.deepcopy(structure.module), structure.mask(kept)
    tensors = dict(module.named_parameters())
    for axis in structure.axes:
        gone = torch.from_numpy((axis.units >= 0) & ~stays[axis.units])
        if axis.tensor in tensors:
            data = tensors[axis.tensor].data
            if axis.blocks > 1:
                stay = (~gone).reshape(axis.blocks, 1, -1, 1)
                data.view(axis.blocks, -1, data.shape[1], data[0, 0].numel()).mul_(stay)
            else:
                data.movedim(axis.axis, 0)[gone] = 0
    return module


def compare(expected, got, tolerance):
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(
            got, expected, rtol=tolerance, atol=tolerance * max(1.0, float(expected.abs().max()))
        )
    elif isinstance(expected, dict):
        compare(list(expected.values()), list(got.values()), tolerance)
    else:
        for one, other in zip(expected, got, strict=True):
            compare(one, other, tolerance)
