"""Cycles of executed blocks."""

from __future__ import annotations

import shutil
import struct

import pytest

from edgesmith.counting import Block
from edgesmith.counting.counts import Counts, Misses
from edgesmith.counting.estimate import Estimate, estimates
from edgesmith.counting.mca import cycles, each_cycles, loops, tool
from edgesmith.errors import MissingDependency
from edgesmith.target import cores


def _missing() -> str:
    try:
        tool()
    except MissingDependency as error:
        return error.why
    return ""


needs_mca = pytest.mark.skipif(bool(_missing()), reason=_missing() or "present")


def _fmla(destination: int) -> int:
    """``fmla v<destination>.4s, v30.4s, v31.s[0]``."""
    return 0x4F9F1000 | 30 << 5 | destination


def _block(*words: int, address: int = 0x1000) -> Block:
    return Block(address, len(words), b"".join(struct.pack("<I", w) for w in words))


INDEPENDENT = _block(*(_fmla(d) for d in range(16)))
CHAIN = _block(*[_fmla(0)] * 16, address=0x2000)
NO_INSTRUCTION = _block(0xFFFFFFFF, 0xFFFFFFFF, address=0x3000)


@needs_mca
@pytest.mark.parametrize(("model", "throughput", "latency"), [("cortex-a72", 16, 64), ("neoverse-n1", 8, 64)])
def test_multiply_adds_take_what_the_core_allows(model: str, throughput: float, latency: float) -> None:
    both = each_cycles([{INDEPENDENT: 10}, {CHAIN: 10}], "aarch64", model)
    assert both[0].total == pytest.approx(10 * throughput, rel=0.1)
    assert both[1].total == pytest.approx(10 * latency, rel=0.1)
    assert both[0].covered == both[1].covered == 1
    assert cycles({INDEPENDENT: 10}, "aarch64", model).total == both[0].total


@needs_mca
def test_what_cannot_be_read_is_as_fast_as_the_rest() -> None:
    found = cycles({INDEPENDENT: 1, NO_INSTRUCTION: 1}, "aarch64", "cortex-a72")
    assert found.covered == pytest.approx(16 / 18)
    assert found.total == pytest.approx(16 * 18 / 16, rel=0.1)


def test_neighbours_that_ran_as_often_are_one_block() -> None:
    first = _block(_fmla(0), _fmla(1), address=0x100)
    second = _block(_fmla(2), address=0x108)
    other = _block(_fmla(3), address=0x10C)
    joined = loops({second: 7, first: 7, other: 3})
    assert joined == {Block(0x100, 3, first.code + second.code): 7, other: 3}


def test_estimates_add_what_caches_lack() -> None:
    assert Estimate(100, 10, 30).total == 100 + 20
    assert Estimate(100, 10, 300).total == 310 + 50


@needs_mca
def test_lines_take_the_bandwidths_of_the_core() -> None:
    core = cores()["cortex-a72"]
    (found,) = estimates([{INDEPENDENT: 1}], [Misses(30, 10)], "aarch64", core)
    assert found.near == 20 * 64 / core.l2_bytes_per_cycle and found.far == 10 * 64 / core.far_bytes_per_cycle


def test_misses_of_a_region_add_up() -> None:
    counts = Counts.parse("b 0 1 00000000\nc 1 0 1\nm 1 5 2\nm 1 1 1\nend\n")
    assert counts.misses[1] == Misses(6, 3)


def test_without_the_tool_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependency, match=r"not installed(.|\n)*apt install llvm-22"):
        cycles({INDEPENDENT: 1}, "aarch64", "cortex-a72")
