"""What masks look like."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.compress.sparsify import NM, Blocks, Unstructured
from edgesmith.compress.sparsify.pattern import largest
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch

SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 20)),
    st.tuples(st.integers(1, 40), st.integers(1, 10), st.integers(1, 3), st.integers(1, 3)),
)


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, density=st.floats(0.01, 1))
def test_density_is_exact_and_what_is_kept_is_largest(shape, density):
    weight = torch.randn(shape)
    mask = Unstructured().mask(weight, density)
    assert int(mask.sum()) == max(1, round(density * weight.numel())), "one is kept, or the layer is dead"
    if 0 < mask.sum() < mask.numel():
        assert weight[mask].abs().min() >= weight[~mask].abs().max()


def test_equal_magnitudes_are_kept_to_the_exact_number():
    assert largest(torch.ones(3, 3), 4).flatten().tolist() == [True] * 4 + [False] * 5


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, pattern=st.sampled_from([NM(2, 4), NM(4, 8), NM(1, 4), NM(1, 2)]))
def test_n_of_m_holds_in_every_group_and_keeps_the_largest(shape, pattern):
    weight = torch.randn(shape)
    mask = pattern.mask(weight, pattern.final_density(None))
    for first in range(0, shape[1], pattern.m):
        group, kept = weight[:, first : first + pattern.m].abs(), mask[:, first : first + pattern.m]
        number = min(pattern.n, group.shape[1])
        assert (kept.sum(1) == number).all()
        least = group.topk(number, 1).values.min(1, keepdim=True).values
        assert (group.ge(least) == kept).all()


def test_on_the_way_groups_keep_more():
    weight = torch.randn(8, 16)
    numbers = [int(NM(2, 4).mask(weight, d)[:, :4].sum(1).unique()) for d in (1.0, 0.8, 0.75, 0.6, 0.5, 0.1)]
    assert numbers == [4, 4, 3, 3, 2, 2]


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, block=st.sampled_from([(16, 1), (1, 16), (4, 2), (1, 1)]), density=st.floats(0.05, 1))
def test_blocks_are_whole_and_their_number_exact(shape, block, density):
    weight = torch.randn(shape)
    mask = Blocks(block).mask(weight, density)
    assert mask.shape == weight.shape
    kept = number = 0
    for row in range(0, shape[0], block[0]):
        for column in range(0, shape[1], block[1]):
            part = mask[row : row + block[0], column : column + block[1]]
            assert (part.all(0).all(0) == part.any(0).any(0)).all()
            kept += int(part[0, 0].sum())
            number += part[0, 0].numel()
    assert kept == max(1, round(density * number))


def test_a_block_at_the_edge_is_judged_by_its_mean():
    """Of 20 outputs, the second block has 4; its weights are larger, and its sum is smaller."""
    weight = torch.ones(20, 1)
    weight[16:] = 1.5
    assert Blocks((16, 1)).mask(weight, 0.5).flatten().tolist() == [False] * 16 + [True] * 4


def test_what_has_no_units_is_refused():
    assert Blocks((16, 1)).refuses(torch.Size((8, 3))) is not None
    assert Blocks((16, 1)).refuses(torch.Size((16, 1))) is None
    assert NM(2, 4).refuses(torch.Size((8, 3))) is not None
    for wrong in (lambda: NM(4, 4), lambda: NM(0, 4), lambda: Blocks((0, 1)), lambda: NM(2, 4).final_density(0.5)):
        with pytest.raises(BadInput):
            wrong()


def test_blocks_of_half_precision_are_ranked_by_their_values():
    """Squares of these are zero in half precision."""
    weight = (torch.linspace(1, 2, 64)[:, None] * 1e-4).expand(64, 16).half()
    assert Blocks((1, 16)).mask(weight, 0.5)[:, 0].tolist() == [False] * 32 + [True] * 32
