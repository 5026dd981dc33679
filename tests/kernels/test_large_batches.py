"""Operands of 2**31 elements and more: the last images of a batch that nobody could wait for.

Only the last tasks run, on memory that the system provides where it is touched.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, TensorType, View
from edgesmith.kernels import KERNELS, Problem
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary, _aligned, _aligned_copy
from edgesmith.verify.tolerance import smallest

from .problems import case_graph, feeds, operator_cases, places, references

LIMIT = 2**31
MAP_NORESERVE = 0x4000
"""Linux; Python 3.11 has no name for it, nor for ``PROT_NONE``."""
PROT_NONE = 0
GUARD = 4 * 2**32
"""Bytes of 2**32 floats."""
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
MAP_FAILED = ctypes.c_void_p(-1).value
CASES = 3
PORTABLE = ("Conv", "ConvTranspose", "MaxPool", "Softmax")
"""Operators whose portable C is run as well."""
LEAST_TASKS = 32
"""Of fewer tasks the last one is too much to wait for."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One image of a case, and the same operators for so many of them that an operand has 2**31 elements or more."""

    name: str
    image: Graph
    whole: Graph
    count: int


def repeated(kind: TensorType, count: int) -> TensorType:
    return TensorType((kind.shape[0] * count, *kind.shape[1:]), kind.dtype)


def with_batch(graph: Graph, count: int) -> Graph | None:
    """The graph for ``count`` times as many images; None when some operator does not take images one by one."""
    types = dict(graph.types)
    for value in graph.inputs:
        if not graph.type(value).rank:
            return None
        types[value] = repeated(graph.type(value), count)
    for node in graph.nodes:
        try:
            made = node.op.infer([types[v] if v else None for v in node.inputs])
        except Exception:  # whatever an operator says about shapes that do not suit it
            return None
        for value, kind in zip(node.outputs, made, strict=True):
            if not kind.rank or kind != repeated(graph.type(value), count):
                return None
            types[value] = kind
    return replace(graph, types=types)


def takes_images_one_by_one(graph: Graph) -> bool:
    """Whether an image in front of another changes nothing about the other."""
    double = with_batch(graph, 2)
    if double is None or not graph.inputs:
        return False
    values = feeds(graph)
    pair = {v: np.concatenate([np.zeros_like(a), a]) for v, a in values.items()}
    with np.errstate(all="ignore"):
        alone, behind = graph.reference(values), double.reference(pair)
    return all(np.array_equal(behind[v][len(alone[v]) :], alone[v], equal_nan=True) for v in graph.outputs)


def batches() -> Iterator[Batch]:
    # Operators register in the order in which tests import them.
    for name, case in sorted(operator_cases(), key=lambda named: named[0]):
        graph = case_graph(case)
        sizes = [graph.type(v).size for v in (*graph.inputs, *graph.outputs)]
        if (
            {k.dtype for k in graph.types.values()} != {DType.F32}
            or not min(sizes)
            or not takes_images_one_by_one(graph)
        ):
            continue
        count = LIMIT // (min(sizes) if max(sizes) <= 8 * min(sizes) else max(sizes)) + 3
        whole = with_batch(graph, count)
        if whole is not None:
            yield Batch(name, graph, whole, count)


def trials(target: Target) -> list[tuple[Batch, Trial]]:
    """A few cases for every kernel."""
    found: list[tuple[Batch, Trial]] = []
    taken: Counter[str] = Counter()
    for batch in batches():
        node = batch.whole.nodes[0]
        for kernel in KERNELS.values():
            portable = kernel.name == "portable"
            kind = node.op.name if portable else kernel.name
            if portable != (target.isa is None) or taken[kind] == (1 if portable else CASES):
                continue
            if portable and kind not in PORTABLE:
                continue
            region = next(iter(kernel.regions(batch.whole, node)), None)
            layout = "row_major" if taken[kind] == 1 else "channels_last"
            if region is None:
                continue
            problem = Problem(batch.whole, region, places(batch.whole, layout), target)
            if kernel.accepts(problem) is not None or not kernel.schedules(problem):
                continue
            schedules = kernel.schedules(problem)
            made = [Trial(problem, kernel, s) for s in (schedules[0], schedules[-1])[: len(schedules)]]
            if all(LEAST_TASKS <= t.code.tasks < LIMIT for t in made):
                found += [(batch, t) for t in made]
                taken[kind] += 1
    return found


class Sparse:
    """Zeroed memory of a view; only what is touched takes space.

    On both sides lie addresses that nobody may touch, as many as a wrong sign or a lost carry of 32 bits reaches.
    """

    def __init__(self, view: View) -> None:
        nbytes = -(-view.span * view.dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        whole = LIBC.mmap(None, GUARD + nbytes + GUARD, PROT_NONE, flags, -1, 0)
        assert whole != MAP_FAILED, os.strerror(ctypes.get_errno())
        self.address = whole + GUARD
        assert LIBC.mprotect(self.address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        memory = (ctypes.c_char * nbytes).from_address(self.address)
        flat = np.frombuffer(memory, view.dtype.numpy, view.span)
        strides = tuple(s * view.dtype.itemsize for s in view.strides)
        self.array = np.lib.stride_tricks.as_strided(flat, view.shape, strides)


def run_last(
    library: TrialLibrary, index: int, trial: Trial, values: Mapping[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """The outputs' last image after the last ``1 / count`` of the tasks, computed from ``values`` in the last image."""
    code, problem = trial.code, trial.problem
    function = getattr(library._library, f"trial_{index}")
    prepare = getattr(library._library, f"trial_{index}_prepare") if code.prepared_bytes else None
    memory = {v: Sparse(problem.view(v)) for v in (*problem.region.inputs, *problem.region.outputs)}
    for value, array in values.items():
        memory[value].array[-len(array) :] = array
    more = [_aligned_copy(c) for c in code.constants]
    if prepare:
        more.append(_aligned(code.prepared_bytes))
    scratch = _aligned(code.scratch_bytes)
    addresses = [*(m.address for m in memory.values()), *(a.ctypes.data for a in more)]
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    if prepare:
        prepare(pointers)
    begin = max(0, code.tasks - math.ceil(code.tasks / count))
    function(pointers, ctypes.c_int32(begin), ctypes.c_int32(code.tasks), ctypes.c_void_p(scratch.ctypes.data))
    return {v: memory[v].array for v in problem.region.outputs}


def check(library: TrialLibrary, index: int, batch: Batch, trial: Trial) -> None:
    values = feeds(batch.image)
    computed = {batch.image.nodes[0].name: (trial.kernel, trial.schedule)}
    expected, bounds = references(batch.image, values, computed)
    for value, whole in run_last(library, index, trial, values, batch.count).items():
        want = expected[value]
        got = whole[-len(want) :]
        written = got != 0
        assert written.any() or not want.any(), "nothing was written"
        tolerance = np.broadcast_to(np.maximum(bounds[value], smallest(DType.F32)), want.shape)
        assert (np.abs(got - want) <= tolerance)[written & np.isfinite(want)].all(), "wrong values"


@pytest.mark.toolchain
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["native", "portable"])
def test_offsets_beyond_31_bits(name: str) -> None:
    """Each in a process of its own: a wrong address is the end of it."""
    mine = trials(parse(name))
    assert mine
    library = TrialLibrary([t for _, t in mine], parse(name), flags=("-O1",))
    fork = multiprocessing.get_context("fork")
    for index, (batch, trial) in enumerate(mine):
        process = fork.Process(target=check, args=(library, index, batch, trial))
        process.start()
        process.join()
        assert process.exitcode == 0, f"exit {process.exitcode}: {batch.name} x {batch.count}: {trial}"
