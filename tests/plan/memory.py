"""A plan run on marks instead of numbers: every element of every value has a mark of its own.

A step reads its operands (each element must still hold its mark), then writes its results. That finds values that are
overwritten before their last reader, whatever the kernels compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from edgesmith.ir import Node, View
from edgesmith.ops import Movement
from edgesmith.plan import Plan, Space, Step

__all__ = ["Memory", "check_memory"]


class Memory:
    """The arena, inputs and outputs of a plan with a mark for each byte."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        graph = plan.graph
        self._spaces = {(Space.ARENA, 0): np.zeros(plan.arena.nbytes, np.int64)}
        self._spaces |= {(Space.INPUT, i): np.zeros(graph.type(v).nbytes, np.int64) for i, v in enumerate(graph.inputs)}
        self._spaces |= {
            (Space.OUTPUT, i): np.zeros(graph.type(v).nbytes, np.int64) for i, v in enumerate(graph.outputs)
        }
        self._fresh = count(1 << 32, 1 << 32)
        self.marks: dict[str, np.ndarray] = {}
        for value in (*graph.inputs, *graph.constants):
            self.marks[value] = self.new(value)
        for value in graph.inputs:
            self.write(value, self.marks[value])

    def new(self, value: str) -> np.ndarray:
        """Marks that no other value has."""
        shape = self.plan.graph.type(value).shape
        return next(self._fresh) + np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)

    def where(self, value: str) -> tuple[tuple[Space, int], np.ndarray]:
        """The memory that a value lies in and the byte addresses of its elements, one axis more than the value."""
        place = self.plan.places[value]
        buffer = self.plan.buffers[place.root]
        outside = buffer.space in (Space.INPUT, Space.OUTPUT)
        view: View = place.view
        elements = view.offset + sum(
            (np.indices(view.shape)[a] * s for a, s in enumerate(view.strides)), np.zeros(view.shape, np.int64)
        )
        size = view.dtype.itemsize
        start = 0 if outside else buffer.at
        addresses = start + elements[..., None] * size + np.arange(size)
        assert addresses.size == 0 or (addresses.min() >= start and addresses.max() < start + buffer.nbytes), value
        return (buffer.space, buffer.at if outside else 0), addresses

    def read(self, value: str) -> np.ndarray:
        """The marks at a value's place; the bytes of an element must agree."""
        space, addresses = self.where(value)
        found = self._spaces[space][addresses]
        assert (found == found[..., :1]).all(), f"{value}: elements overwritten in part"
        return found[..., 0]

    def write(self, value: str, marks: np.ndarray) -> None:
        space, addresses = self.where(value)
        self._spaces[space][addresses] = marks[..., None]


def check_memory(plan: Plan) -> None:
    """Assert that every operand is intact when it is read, and every output at the end."""
    memory, graph = Memory(plan), plan.graph
    steps = {node.name: step for step in plan.steps for node in step.region.nodes}
    done: set[str] = set()
    for node in _in_order_of_steps(plan):
        step = steps.get(node.name)
        if step is None or isinstance(node.op, Movement):
            operands = [memory.marks[v] if v else None for v in node.inputs]
            memory.marks.update(zip(node.outputs, node.op.reference(*operands), strict=True))
        else:
            memory.marks.update((v, memory.new(v)) for v in node.outputs)
        if step is None or step.name in done or node is not step.region.nodes[-1]:
            continue
        done.add(step.name)
        for value in step.region.inputs:
            assert (memory.read(value) == memory.marks[value]).all(), (
                f"{step.name} reads {value} after it was overwritten"
            )
        _check_in_place(memory, step)
        for value in step.region.outputs:
            memory.write(value, memory.marks[value])
    assert len(done) == len(plan.steps)
    for value in graph.outputs:
        assert (memory.read(value) == memory.marks[value]).all(), f"output {value} is not what was computed"


def _in_order_of_steps(plan: Plan) -> Iterator[Node]:
    """The nodes as the steps run, those without a step as soon as their operands exist."""
    first = {node.name: i for i, step in enumerate(plan.steps) for node in step.region.nodes}
    made: set[str] = {*plan.graph.inputs, *plan.graph.constants}
    waiting = list(plan.graph.nodes)
    current = 0
    while waiting:
        for node in waiting:
            if first.get(node.name, current) <= current and set(node.read) <= made:
                break
        else:
            current += 1
            assert current <= len(plan.steps), "the steps do not follow the graph"
            continue
        waiting.remove(node)
        made.update(node.outputs)
        yield node


def _check_in_place(memory: Memory, step: Step) -> None:
    """An output may lie over an input only when the kernel allows that input, and then element on element."""
    outputs = [memory.where(v) for v in step.region.outputs]
    for i, (space, addresses) in enumerate(outputs):
        for other, theirs in outputs[:i]:
            assert other != space or not np.intersect1d(addresses, theirs).size, f"{step.name}: outputs overlap"
    if isinstance(step.region.anchor.op, Movement):
        return  # What it would overwrite is what it writes: ``write`` and the next reader check that.
    allowed = step.kernel.in_place(step.problem)
    for value in step.region.inputs:
        space, addresses = memory.where(value)
        for out, (other, theirs) in zip(step.region.outputs, outputs, strict=True):
            if other == space and np.intersect1d(addresses, theirs).size:
                assert value in allowed, f"{step.name} overwrites {value} while it reads it"
                assert np.array_equal(addresses, theirs), f"{out} lies across {value}"
