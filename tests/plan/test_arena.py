"""Arena allocation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesmith.plan.arena import ALIGNMENT, Lifetime, allocate

lifetimes = st.builds(
    lambda nbytes, first, length: Lifetime(nbytes, first, first + length),
    st.one_of(st.integers(0, 200), st.integers(0, 1 << 33)),
    st.integers(0, 12),
    st.integers(0, 6),
)


@given(st.lists(lifetimes, max_size=12))
def test_no_two_live_buffers_overlap(given_: list[Lifetime]) -> None:
    buffers = {f"v{i}": b for i, b in enumerate(given_)}
    arena = allocate(buffers)
    assert arena.offsets.keys() == buffers.keys()
    assert arena.lower_bound <= arena.nbytes <= arena.naive
    for name, buffer in buffers.items():
        start = arena.offsets[name]
        assert start % ALIGNMENT == 0 and start >= 0 and start + buffer.nbytes <= arena.nbytes
        for other, theirs in buffers.items():
            if other < name and buffer.overlaps(theirs):
                assert start + buffer.nbytes <= arena.offsets[other] or arena.offsets[other] + theirs.nbytes <= start


@given(st.lists(lifetimes, max_size=12))
def test_lower_bound_is_the_largest_live_set(given_: list[Lifetime]) -> None:
    rounded = [-(-b.nbytes // ALIGNMENT) * ALIGNMENT for b in given_]
    live = [sum(n for n, b in zip(rounded, given_, strict=True) if b.first <= step <= b.last) for step in range(20)]
    assert allocate({f"v{i}": b for i, b in enumerate(given_)}).lower_bound == max(live)


def test_a_chain_needs_two_buffers() -> None:
    arena = allocate({f"v{i}": Lifetime(1000, i, i + 1) for i in range(9)})
    assert arena.nbytes == arena.lower_bound == 2 * 1024


def test_allocation_does_not_depend_on_order() -> None:
    buffers = {f"v{i}": Lifetime(64 * (i % 5 + 1), i, i + i % 4) for i in range(20)}
    assert allocate(buffers).offsets == allocate(dict(reversed(buffers.items()))).offsets
