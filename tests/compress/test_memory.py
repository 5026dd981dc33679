"""Whether tensors share memory."""

import pytest
import torch

from edgesmith.compress.memory import memory_of

pytestmark = pytest.mark.torch


def shared(a, b):
    first, second = memory_of(a), memory_of(b)
    assert first.overlaps(second) == second.overlaps(first)
    return first.overlaps(second)


def test_views_share_elements_or_not() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert shared(x, x) and shared(x, x[1]) and shared(x.permute(2, 0, 1), x[:, 1])
    assert not shared(x[0], x[1]) and not shared(x[:, 0], x[:, 1:]) and not shared(x[..., ::2], x[..., 1::2])
    assert shared(x[:, :2], x[:, 1:])
    assert not shared(x, x.clone()) and not shared(x[:0], x)
    assert shared(x[:1].expand(5, 3, 4), x[0, 2, 3]) and not shared(x[:1].expand(5, 3, 4), x[1])


def test_views_of_another_type_count_as_shared() -> None:
    x = torch.zeros(4)
    assert shared(x, x.view(torch.uint8)) and shared(x, x.view(torch.int32))
    assert memory_of(x) != memory_of(x.view(torch.int32))


def test_what_has_no_strides_has_no_memory() -> None:
    assert memory_of(torch.eye(3).to_sparse()) is None
    meta = torch.empty(3, device="meta")
    assert not shared(meta, torch.empty(3, device="meta"))
