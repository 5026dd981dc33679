"""Memory of a plan: which buffer each value lies in, and where the buffers lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edgesmith.ir import Graph
from edgesmith.kernels import Place
from edgesmith.plan.arena import Arena, Lifetime, allocate
from edgesmith.plan.step import Step

__all__ = ["Buffer", "Space", "place_buffers"]


class Space(IntEnum):
    """The memory that an operand lies in; the numbers appear in generated C."""

    ARENA = 0
    WEIGHTS = 1
    PREPARED = 2
    INPUT = 3
    OUTPUT = 4


@dataclass(frozen=True)
class Buffer:
    """Where a root value lies: byte offset in the arena, or index among the program's inputs or outputs."""

    space: Space
    at: int
    nbytes: int


def place_buffers(graph: Graph, steps: Sequence[Step], places: Mapping[str, Place]) -> tuple[dict[str, Buffer], Arena]:
    """The buffer of each root value: graph inputs and outputs in the caller's memory, all others in one arena.

    A buffer lives from the first step that writes it to the last that reads it; where a kernel may overwrite an input
    that nobody else needs, the output takes over its buffer.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        for value in (*step.region.inputs, *step.region.outputs):
            root = places[value].root
            first.setdefault(root, i)
            last[root] = i
    outside = {v: Buffer(Space.INPUT, i, graph.type(v).nbytes) for i, v in enumerate(graph.inputs)}
    outside |= {v: Buffer(Space.OUTPUT, i, graph.type(v).nbytes) for i, v in enumerate(graph.outputs)}
    roots = {r for r in first if r not in outside}
    shared = _in_place(steps, places, last, roots)
    merged: dict[str, Lifetime] = {}
    for root in sorted(roots, key=lambda r: (first[r], r)):
        host = shared.get(root, root)
        nbytes = graph.type(root).nbytes
        if host in merged:
            old = merged[host]
            merged[host] = Lifetime(max(old.nbytes, nbytes), min(old.first, first[root]), max(old.last, last[root]))
        else:
            merged[host] = Lifetime(nbytes, first[root], last[root])
    arena = allocate(merged)
    inside = {r: Buffer(Space.ARENA, arena.offsets[shared.get(r, r)], graph.type(r).nbytes) for r in roots}
    return {**inside, **outside}, arena


def _in_place(
    steps: Sequence[Step], places: Mapping[str, Place], last: Mapping[str, int], roots: set[str]
) -> dict[str, str]:
    """Root -> the root whose memory it takes over, because a kernel may overwrite that input element by element."""
    host: dict[str, str] = {}
    taken: set[str] = set()
    for i, step in enumerate(steps):
        for out in step.region.outputs:
            mine = places[out].root
            if mine not in roots or mine in host or mine != out:
                continue
            others = [places[v].root for v in (*step.region.inputs, *step.region.outputs) if v != out]
            for value in step.kernel.in_place(step.problem):
                theirs = places[value].root
                free = theirs in roots and theirs not in taken and last[theirs] == i
                whole = places[value].view.size == places[theirs].view.size == places[out].view.size
                # Another operand in the same memory would be read after it is overwritten.
                if free and whole and others.count(theirs) == 1:
                    host[mine] = host.get(theirs, theirs)
                    taken.add(theirs)
                    break
    return host
