"""Measuring what this machine can do at best; the result is kept in the cache."""

from __future__ import annotations

import ctypes as c
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from edgesmith import knobs
from edgesmith.bench.environment import processor
from edgesmith.target import Machine, Target, parse
from edgesmith.toolchain import Compiler, zig

__all__ = ["best_of", "measure", "this_machine"]

SIZES = tuple(1 << k for k in range(14, 28))
"""Working sets from 16 KiB to 128 MiB."""

REPETITIONS = 40
SLICE_SECONDS = 0.003
"""Many short slices: one of them is likely to run undisturbed even while other programs run."""


def this_machine(threads: int = 1, *, fresh: bool = False) -> Machine:
    """Peak rates of this machine, from the cache or measured now (about two seconds, and alone on the machine at best).

    Args:
        threads: threads that work at the same time.
        fresh: measure in any case.

    Raises:
        CompilerFailed: the microbenchmark cannot be built.
    """
    target, compiler = parse("native"), zig()
    key = json.dumps([processor(), target.isas, compiler.version, threads, _source()])
    file = knobs.CACHE_DIR() / "machine" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        if not fresh:
            return Machine.from_json(json.loads(file.read_text()))
    machine = measure(target, compiler, threads)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w") as stream:
        json.dump(machine.to_json(), stream)
    os.replace(part, file)
    return machine


def measure(target: Target, compiler: Compiler, threads: int = 1) -> Machine:
    """Build the microbenchmark for ``target`` and run it on this machine: the best of several repetitions counts."""
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as name:
        library = _build(Path(name), target, compiler)
        buffers = [_aligned(SIZES[-1]) for _ in range(threads)]
        sinks = [c.c_float() for _ in range(threads)]

        def fma(thread: int, rounds: int) -> float:
            return float(library.peak_fma(rounds, 0.999, c.byref(sinks[thread])))

        def read(size: int) -> Callable[[int, int], float]:
            def work(thread: int, rounds: int) -> float:
                library.peak_read(buffers[thread].ctypes.data, size, rounds, c.byref(sinks[thread]))
                return float(size * rounds)

            return work

        flops = _best_rate(fma, threads)
        rates = [_best_rate(read(size), threads) for size in SIZES]
    # What a large working set reaches, a smaller one reaches as well: this removes dips by other load.
    rates = np.maximum.accumulate(rates[::-1])[::-1].tolist()
    return Machine(
        processor(), target.isas[-1] if target.isas else "c", threads, flops, tuple(zip(SIZES, rates, strict=True))
    )


def best_of(first: Machine, second: Machine) -> Machine:
    """The higher rate of two measurements of one machine: other load only ever lowers them."""
    pairs = zip(first.bandwidths, second.bandwidths, strict=True)
    bandwidths = tuple((size, max(rate, other)) for (size, rate), (_, other) in pairs)
    return replace(first, flops=max(first.flops, second.flops), bandwidths=bandwidths)


def _source() -> str:
    return (resources.files("edgesmith.bench") / "peak.c").read_text()


def _build(folder: Path, target: Target, compiler: Compiler) -> c.CDLL:
    (folder / "peak.c").write_text(_source())
    vector_bytes = target.lanes * 4 if target.isa else 16
    compiler.run(
        [
            *compiler.flags(target),
            "-std=gnu99",
            "-O3",
            "-fPIC",
            "-shared",
            "-ffp-contract=fast",
            f"-DVECTOR_BYTES={vector_bytes}",
            "peak.c",
            "-o",
            "peak.so",
        ],
        cwd=folder,
    )
    library = c.CDLL(str(folder / "peak.so"))
    library.peak_fma.restype = c.c_double
    library.peak_fma.argtypes = [c.c_int64, c.c_float, c.c_void_p]
    library.peak_read.restype = None
    library.peak_read.argtypes = [c.c_void_p, c.c_size_t, c.c_int64, c.c_void_p]
    return library


def _aligned(nbytes: int) -> np.ndarray:
    raw = np.ones(nbytes // 4 + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + nbytes // 4]


def _best_rate(work: Callable[[int, int], float], threads: int) -> float:
    """Units per second of ``work(thread, rounds)`` on all threads together."""
    rounds = 1
    while True:
        start = time.perf_counter()
        work(0, rounds)
        elapsed = time.perf_counter() - start
        if elapsed >= SLICE_SECONDS:
            break
        rounds *= 2 if elapsed < SLICE_SECONDS / 4 else 4
    return max(_together(work, threads, rounds) for _ in range(REPETITIONS))


def _together(work: Callable[[int, int], float], threads: int, rounds: int) -> float:
    if threads == 1:
        start = time.perf_counter()
        return work(0, rounds) / (time.perf_counter() - start)
    barrier = threading.Barrier(threads)
    spans: list[tuple[float, float]] = []
    done: list[float] = []

    def one(thread: int) -> None:
        barrier.wait()
        start = time.perf_counter()
        units = work(thread, rounds)
        spans.append((start, time.perf_counter()))
        done.append(units)

    workers = [threading.Thread(target=one, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (max(end for _, end in spans) - min(start for start, _ in spans))
