"""A compiled program in this process: the C API through ctypes."""

from __future__ import annotations

import ctypes as c
import mmap
import operator
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesmith.device.instance import Instance, StepTimes
from edgesmith.errors import ArtifactError, BadInput
from edgesmith.ir import DType, TensorType, View

__all__ = ["Context", "Program"]

ABI_VERSION = 1
MAX_THREADS = 1024


class _TensorInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int32),
        ("rank", c.c_int32),
        ("shape", c.POINTER(c.c_int64)),
        ("bytes", c.c_size_t),
    ]


class _StepInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("kernel", c.c_char_p),
        ("tasks", c.c_int32),
        ("macs", c.c_int64),
        ("bytes", c.c_int64),
    ]


class _ValueInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int32),
        ("rank", c.c_int32),
        ("shape", c.POINTER(c.c_int64)),
        ("strides", c.POINTER(c.c_int64)),
        ("space", c.c_int32),
        ("offset", c.c_size_t),
    ]


_ARENA, _INPUT, _OUTPUT = 0, 3, 4
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if sys.platform != "win32" else {}
"""Of memory that a child process gets a copy of; Windows has no such children."""


class Program:
    """The shared library of a model.

    Args:
        library: its path.
        name: prefix of its symbols.
        variant: of a library for several instruction sets, the one that is used.
        alone: use a copy of the library, whose choice is nobody else's.

    Raises:
        ArtifactError: it cannot be loaded, has another ABI version, or the processor lacks what the variant needs.
    """

    def __init__(self, library: Path, name: str, variant: str | None = None, *, alone: bool = False) -> None:
        try:
            self._lib = _loaded(library, alone)
            self._abi = self._function(name, "abi_version", c.c_int32)
        except (OSError, AttributeError) as error:
            raise ArtifactError(
                f"cannot load the program: {error}", where=str(library), hint="compile the model again for this machine"
            ) from error
        if self._abi() != ABI_VERSION:
            raise ArtifactError(
                f"the program has ABI version {self._abi()}, this Edgesmith runs {ABI_VERSION}",
                where=str(library),
                hint="compile the model again",
            )
        self.variant = variant or ""
        if variant and self._function(name, "use_variant", c.c_int32, c.c_char_p)(variant.encode()):
            raise ArtifactError(f"this machine does not run the variant {variant}", where=str(library))
        pointers = c.POINTER(c.c_void_p)
        self._context_bytes = self._function(name, "context_bytes", c.c_size_t, c.c_int32)
        self._init = self._function(name, "init", c.c_void_p, c.c_void_p, c.c_size_t, c.c_int32, c.c_void_p, c.c_void_p)
        self._prepare = self._function(name, "prepare", None, c.c_void_p)
        self._bind = self._function(name, "bind", c.c_int32, c.c_void_p, pointers, pointers)
        self._run = self._function(name, "run", c.c_int32, c.c_void_p, pointers, pointers)
        self._run_steps = self._function(name, "run_steps", c.c_int32, c.c_void_p, c.c_int32, c.c_int32)
        self._arena = self._function(name, "arena", c.c_void_p, c.c_void_p)
        self._pool_create = self._lib.es_pool_create
        self._pool_create.argtypes = [c.POINTER(c.c_void_p), c.c_int]
        self._pool_destroy = self._lib.es_pool_destroy
        self._pool_destroy.argtypes = [c.c_void_p]
        self._parallel_for = c.cast(self._lib.es_pool_parallel_for, c.c_void_p)
        self.inputs = self._tensors(name, "input")
        self.outputs = self._tensors(name, "output")
        step = self._function(name, "step", c.POINTER(_StepInfo), c.c_int32)
        count = self._function(name, "step_count", c.c_int32)()
        self.steps = tuple((s.name.decode(), s.kernel.decode()) for s in (step(i).contents for i in range(count)))
        self._values = self._value_table(name)

    def _function(self, name: str, symbol: str, result: object, *arguments: object):  # type: ignore[no-untyped-def]
        function = getattr(self._lib, f"{name}_{symbol}")
        function.restype, function.argtypes = result, list(arguments)
        return function

    def _tensors(self, name: str, kind: str) -> dict[str, TensorType]:
        info = self._function(name, kind, c.POINTER(_TensorInfo), c.c_int32)
        count = self._function(name, f"{kind}_count", c.c_int32)()
        rows = [info(i).contents for i in range(count)]
        return {r.name.decode(): TensorType(tuple(r.shape[: r.rank] if r.rank else ()), DType(r.dtype)) for r in rows}

    def _value_table(self, name: str) -> dict[str, tuple[int, int, View]]:
        value = self._function(name, "value", c.POINTER(_ValueInfo), c.c_int32)
        count = self._function(name, "value_count", c.c_int32)()
        table = {}
        for r in (value(i).contents for i in range(count)):
            shape, strides = (tuple(a[: r.rank] if r.rank else ()) for a in (r.shape, r.strides))
            table[r.name.decode()] = (r.space, r.offset, View(shape, strides, DType(r.dtype)))
        return table

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that can be read and written between steps."""
        return tuple(self._values)

    def context_bytes(self, threads: int = 1) -> int:
        return int(self._context_bytes(threads))


def _loaded(library: Path, alone: bool) -> c.CDLL:
    """The library that lies at a path now.

    The loader knows libraries by the path that it was given, so the path of an artifact that was replaced since it was
    loaded would give the old program again. A name that is never used twice makes it look at the file.

    Args:
        alone: load a copy, with state of its own.
    """
    # Windows keeps files that are in use, and lets few users make links.
    windows = os.name == "nt"
    with tempfile.TemporaryDirectory(prefix="edgesmith-", ignore_cleanup_errors=windows) as folder:
        alias = Path(folder) / library.name
        if alone or windows:
            shutil.copyfile(library, alias)
        else:
            alias.symlink_to(library.absolute())
        return c.CDLL(str(alias))


def checked_threads(threads: int) -> int:
    """A number of threads that a program can have; raises ``BadInput`` for anything else."""
    try:
        count = operator.index(threads)
    except TypeError as error:
        raise BadInput(f"{threads!r} is no number of threads", where="threads") from error
    if not 1 <= count <= MAX_THREADS:
        raise BadInput(f"{count} threads are not possible, 1 to {MAX_THREADS} are", where="threads")
    return count


@dataclass(frozen=True, eq=False)
class _Bound:
    """Memory of inputs and outputs, and the arrays of their addresses, which the program reads."""

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    addresses: tuple[object, object]


class Context(Instance):
    """A program in this process.

    Args:
        threads: number of threads that share one run.

    Raises:
        BadInput: no such number of threads is possible.
        ArtifactError: the system refuses memory or threads.
    """

    def __init__(self, program: Program, threads: int = 1) -> None:
        self.program, self.variant, self.threads = program, program.variant, checked_threads(threads)
        self._nbytes = program.context_bytes(threads)
        try:
            # Anonymous mappings are page-aligned and are returned to the system at once when the context goes.
            self._memory = mmap.mmap(-1, self._nbytes, **_PRIVATE)
        except (OSError, ValueError, OverflowError) as error:
            raise ArtifactError(f"no memory for a context of {self._nbytes} bytes: {error}") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # Large pages spare the processor translations of addresses; the system is free to refuse.
            with suppress(OSError):
                self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._address = c.addressof(c.c_char.from_buffer(self._memory))
        self._pool = c.c_void_p()
        self._bound: _Bound | None = None
        self._start()

    def _start(self) -> None:
        """Start the threads and initialise the memory."""
        program = self.program
        self._pid = os.getpid()
        self._pool = c.c_void_p()
        if self.threads > 1 and program._pool_create(c.byref(self._pool), self.threads):
            raise ArtifactError(f"cannot start {self.threads} threads")
        parallel_for = program._parallel_for if self.threads > 1 else None
        self._handle = program._init(self._address, self._nbytes, self.threads, parallel_for, self._pool)
        if not self._handle:
            raise ArtifactError("the program refused its memory")
        program._prepare(self._handle)

    def _survive_fork(self) -> None:
        """Threads do not survive ``fork``: in a child process, start them anew."""
        if self.threads > 1 and self._pid != os.getpid():
            self._start()
            if self._bound:
                self.bind(self._bound.inputs, self._bound.outputs)

    def __del__(self) -> None:
        if getattr(self, "_pool", None) and self._pid == os.getpid():
            self.program._pool_destroy(self._pool)

    def bind(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray] | None = None) -> None:
        """Fix the memory of inputs and outputs (C-contiguous, of the declared types) for ``run_steps``.

        Args:
            outputs: default: memory of its own.
        """
        if outputs is None:
            outputs = [np.zeros(t.shape, t.dtype.numpy) for t in self.program.outputs.values()]
        pointers = _pointers(inputs), _pointers(outputs)
        self._check(self.program._bind(self._handle, *pointers))
        self._bound = _Bound(list(inputs), list(outputs), pointers)

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """One inference into ``outputs``; the GIL is released meanwhile."""
        self._survive_fork()
        self._check(self.program._run(self._handle, _pointers(inputs), _pointers(outputs)))

    def run_steps(self, begin: int, end: int) -> None:
        """Steps ``begin`` to ``end`` on the bound memory."""
        self._survive_fork()
        self._check(self.program._run_steps(self._handle, begin, end))

    def value(self, name: str) -> np.ndarray:
        """A value's memory as a writable array in the model's logical shape; valid between the steps that use it."""
        space, offset, view = self.program._values[name]
        kind, index = space % 16, space // 16
        if kind == _ARENA:
            base = int(self.program._arena(self._handle))
        else:
            if not self._bound:
                raise BadInput("bind inputs and outputs first", where=name)
            arrays = self._bound.inputs if kind == _INPUT else self._bound.outputs
            base = arrays[index].ctypes.data
        itemsize = view.dtype.itemsize
        low = sum(min(0, (n - 1) * s) for n, s in zip(view.shape, view.strides, strict=True)) * itemsize
        buffer = (c.c_char * max(view.span * itemsize, 1)).from_address(base + offset + low)
        # The array may outlive the last reference to the context.
        buffer.context = self  # type: ignore[attr-defined]
        strides = tuple(s * itemsize for s in view.strides)
        return np.ndarray(view.shape, view.dtype.numpy, memoryview(buffer).cast("B"), -low, strides)

    def outputs(self) -> list[np.ndarray]:
        if not self._bound:
            raise BadInput("bind inputs first")
        return [a.copy() for a in self._bound.outputs]

    def read(self, value: str) -> np.ndarray:
        return self.value(value).copy()

    def write(self, value: str, array: np.ndarray) -> None:
        self.value(value)[...] = array

    def checksum(self, value: str) -> int:
        return zlib.crc32(np.ascontiguousarray(self.value(value)).data)

    def time_steps(self, repetitions: int) -> StepTimes:
        count = len(self.program.steps)
        steps, empty, whole = np.empty((repetitions, count)), np.empty((repetitions, count)), np.empty(repetitions)
        self.run_steps(0, count)
        for i in range(repetitions):
            for step in range(count):
                # A step may drive this interpreter out of the caches; a call without any step brings it back.
                self._time(0, 0)
                empty[i, step] = self._time(0, 0)
                steps[i, step] = self._time(step, step + 1)
            whole[i] = self._time(0, count)
        return StepTimes(steps, whole, empty.reshape(-1))

    def _time(self, begin: int, end: int) -> float:
        """Nanoseconds."""
        start = time.perf_counter_ns()
        self.run_steps(begin, end)
        return float(time.perf_counter_ns() - start)

    def close(self) -> None:
        """Nothing to do: memory and threads go with the last reference to it."""

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise ArtifactError(f"the program returned status {status}")


def _pointers(arrays: Sequence[np.ndarray]) -> c.Array[c.c_void_p]:
    return (c.c_void_p * max(len(arrays), 1))(*[a.__array_interface__["data"][0] for a in arrays])


def checked(array: object, name: str, type: TensorType) -> np.ndarray:
    """``array`` as aligned, C-contiguous memory of exactly ``type``; raises ``BadInput`` otherwise."""
    try:
        given = np.asarray(array)
    except ValueError as error:
        raise BadInput(f"not an array: {error}", where=name) from error
    if given.dtype != type.dtype.numpy:
        raise BadInput(
            f"dtype is {given.dtype}, the model takes {type.dtype.numpy}",
            where=name,
            hint=f"convert it: x.astype(np.{type.dtype.numpy})",
        )
    if given.shape != type.shape:
        raise BadInput(f"shape is {given.shape}, the program was compiled for {type.shape}", where=name)
    return given if given.flags.c_contiguous and given.flags.aligned else given.copy()


def arranged(
    types: Mapping[str, TensorType], positional: Sequence[object], named: Mapping[str, object]
) -> list[np.ndarray]:
    """The inputs in the model's order; raises ``BadInput`` naming what is missing, unknown or given twice.

    Args:
        types: of the model's inputs.
    """
    names = list(types)
    if len(positional) > len(names):
        raise BadInput(f"{len(positional)} inputs given, the model has {len(names)}: {', '.join(names)}")
    given = dict(zip(names, positional, strict=False))
    for name, array in named.items():
        if name not in types:
            raise BadInput("the model has no such input", where=name, hint=f"inputs: {', '.join(names)}")
        if name in given:
            raise BadInput("given twice", where=name)
        given[name] = array
    missing = [n for n in names if n not in given]
    if missing:
        shown = ", ".join(f"{n}: {types[n]}" for n in missing)
        raise BadInput(f"missing input {shown}")
    return [checked(given[n], n, types[n]) for n in names]
