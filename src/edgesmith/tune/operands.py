"""The operands of a trial for another machine, as the service of trials takes them (docs/serving.md).

What floats are worth changes no kernel's time, so they are made there; integers can be places in memory, and are sent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from edgesmith.tune.trial import Trial, input_bytes, places, roots, span_bytes

__all__ = ["to_bytes"]

ZEROS, FLOATS, GIVEN = range(3)
HEAD, BLOCK, POINTER = struct.Struct("<6I2Q"), struct.Struct("<Q2I"), struct.Struct("<Q2I")


def to_bytes(trial: Trial, number: int, feeds: Mapping[str, np.ndarray], other_bytes: int, seconds: int) -> bytes:
    """The content of a request to load a trial.

    Args:
        number: of the trial in the program.
        feeds: the problem's inputs.
        other_bytes: memory that is read before each run.
        seconds: after which its preparation counts as hung.
    """
    problem, code = trial.problem, trial.code
    blocks: list[tuple[int, int, bool]] = []
    given: list[bytes] = []

    def add(nbytes: int, content: int, data: bytes = b"", is_input: bool = False) -> int:
        blocks.append((nbytes, content, is_input))
        given.append(data)
        return len(blocks) - 1

    read = {problem.places[v].root for v in problem.region.inputs}
    at = {}
    for root, views in roots(problem).items():
        nbytes = span_bytes(views)
        if root not in read:
            at[root] = add(nbytes, ZEROS)
        elif views[0].dtype.numpy == np.float32:
            at[root] = add(nbytes, FLOATS, is_input=True)
        else:
            at[root] = add(nbytes, GIVEN, input_bytes(problem, root, feeds), is_input=True)
    pointers = [(p.view.offset * p.view.dtype.itemsize, at[p.root]) for p in places(problem).values()]
    run_time = len(pointers)
    for constant in code.constants:
        floats = constant.dtype == np.float32
        block = add(constant.nbytes, FLOATS) if floats else add(constant.nbytes, GIVEN, _dense(constant))
        pointers.append((0, block))
    if code.prepared_bytes:
        pointers.append((0, add(code.prepared_bytes, ZEROS)))
    head = (number, code.tasks, seconds, len(blocks), len(pointers), len(pointers) - run_time)
    parts = [HEAD.pack(*head, code.scratch_bytes, other_bytes)]
    parts += [BLOCK.pack(nbytes, content, is_input) for nbytes, content, is_input in blocks]
    parts += [POINTER.pack(offset, block, 0) for offset, block in pointers]
    return b"".join([*parts, *given])


def _dense(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()
