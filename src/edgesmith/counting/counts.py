"""Executed blocks of a program, and lines that its accesses missed, by the regions that it marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Block", "Counts", "Misses", "StepCounts"]


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another, up to a branch, the end of a page or a limit of the emulator.

    Args:
        address: of the first one, as the program sees it.
        instructions: their number.
        code: their bytes.
    """

    address: int
    instructions: int
    code: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.code)


@dataclass(frozen=True)
class StepCounts:
    """What one inference executes, where only the number of instructions is known.

    Args:
        steps: the manifest's entries.
        instructions: of a whole run.
        each: of each step.
        unit: what is counted.
        emulator: what ran it.
    """

    steps: tuple[Mapping[str, Any], ...]
    instructions: int
    each: tuple[int, ...]
    unit: str
    emulator: str

    def step_instructions(self, index: int) -> int:
        """Of one step, with the call that starts it."""
        return self.each[index]


@dataclass(frozen=True)
class Misses:
    """Lines of 64 bytes that caches lacked, in the first level and in both."""

    l1: int = 0
    l2: int = 0

    def __add__(self, other: Misses) -> Misses:
        return Misses(self.l1 + other.l1, self.l2 + other.l2)


@dataclass(frozen=True)
class Counts:
    """How often each block ran.

    Args:
        regions: for each region, runs of each block, by its index in ``blocks``.
        misses: for each region; empty where no caches were told of.
    """

    blocks: tuple[Block, ...]
    regions: Mapping[int, Mapping[int, int]]
    misses: Mapping[int, Misses] = field(default_factory=dict)

    def of(self, region: int) -> dict[Block, int]:
        """Runs of each block in a region; none where the program never marked it."""
        found: dict[Block, int] = {}
        for index, runs in self.regions.get(region, {}).items():
            block = self.blocks[index]
            found[block] = found.get(block, 0) + runs
        return found

    def instructions(self, region: int) -> int:
        """Executed instructions of a region."""
        return sum(self.blocks[i].instructions * runs for i, runs in self.regions.get(region, {}).items())

    @cached_property
    def total(self) -> int:
        """Executed instructions of the whole program."""
        return sum(map(self.instructions, self.regions))

    @classmethod
    def parse(cls, text: str) -> Counts:
        """What the plugin wrote (``plugin.c`` says how); ``ValueError`` where it is not whole."""
        blocks: list[Block] = []
        regions: dict[int, dict[int, int]] = {}
        misses: dict[int, Misses] = {}
        lines = text.splitlines()
        if not lines or lines.pop() != "end":
            raise ValueError("the counts end early")
        for line in lines:
            kind, *words = line.split()
            if kind == "b":
                blocks.append(Block(int(words[0], 16), int(words[1], 16), bytes.fromhex(words[2])))
            elif kind == "m":
                region, l1, l2 = map(int, words)
                misses[region] = misses.get(region, Misses()) + Misses(l1, l2)
            else:
                region, block, runs = map(int, words)
                runs_of = regions.setdefault(region, {})
                runs_of[block] = runs_of.get(block, 0) + runs
        return cls(tuple(blocks), regions, misses)
