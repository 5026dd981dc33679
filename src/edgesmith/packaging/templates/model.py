"""A neural network, compiled by Edgesmith.

    import @MODULE@

    model = @MODULE@.Model()
    outputs = model.run(**inputs)  # numpy arrays by name, in and out

    @SIGNATURE@

16-bit bfloat16 values are uint16, as their bits.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Model", "Tensor"]
__version__ = "@VERSION@"

_LIBRARY = "@LIBRARY@"
_PREFIX = "@PREFIX@"
_TARGET = "@TARGET@"
_FLAGS: tuple[str, ...] = ("@FLAGS@",)
_THREADS = 1
_ABI_VERSION = 1
_ALIGNMENT = 64
_MAX_THREADS = 1024
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "uint16",
}


class Tensor(NamedTuple):
    """Shape and element type of an input or output."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Model:
    """The network with its weights; ``inputs`` and ``outputs`` describe its tensors by name, in order.

    Calls from several threads run at the same time, each with memory of its own; other Python threads run meanwhile.

    Args:
        threads: threads that share one run; results are the same bits for any number.

    Raises:
        ValueError: no such number of threads is possible.
        RuntimeError: this processor lacks instructions that the network was compiled for.
        OSError: this system cannot load the library.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        if not 1 <= threads <= _MAX_THREADS:
            raise ValueError(f"{threads} threads are not possible, 1 to {_MAX_THREADS} are")
        self.threads = threads
        self._library = _Library()
        self.inputs = self._library.tensors("input")
        self.outputs = self._library.tensors("output")
        # Appending and popping are atomic.
        self._idle: deque[_Context] = deque()

    def run(self, /, **inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name from inputs by name.

        Raises:
            TypeError: an input is missing or unknown.
            ValueError: an array has another shape or element type than the network takes.
        """
        unknown = [n for n in inputs if n not in self.inputs]
        missing = [n for n in self.inputs if n not in inputs]
        if unknown or missing:
            problem = f"unknown input {unknown[0]!r}" if unknown else f"missing input {missing[0]!r}"
            raise TypeError(f"{problem}; inputs: {', '.join(self.inputs)}")
        arrays = [_checked(name, inputs[name], tensor) for name, tensor in self.inputs.items()]
        results = [np.empty(t.shape, t.dtype) for t in self.outputs.values()]
        context = self._context()
        try:
            context.run(arrays, results)
        finally:
            self._idle.append(context)
        return dict(zip(self.outputs, results, strict=True))

    def __call__(self, *inputs: Any) -> Any:
        """Inputs in order; one output as an array, several as a tuple."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{len(inputs)} inputs given, the network takes {', '.join(self.inputs) or 'none'}")
        results = tuple(self.run(**dict(zip(self.inputs, inputs, strict=True))).values())
        return results[0] if len(results) == 1 else results

    def _context(self) -> _Context:
        while self._idle:
            try:
                context = self._idle.pop()
            except IndexError:
                break
            if context.process == os.getpid():  # threads do not survive a fork
                return context
        return _Context(self._library, self.threads)


class _TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("bytes", ctypes.c_size_t),
    ]


class _Library:
    """The functions of the library, as es_abi.h declares them."""

    def __init__(self) -> None:
        _check_processor()
        self._library = ctypes.CDLL(str(Path(__file__).with_name(_LIBRARY)))
        if self.function("abi_version", ctypes.c_int32)() != _ABI_VERSION:
            raise RuntimeError("the library does not belong to this module; install the package again")
        pointer, number, arrays = ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)
        self.context_bytes = self.function("context_bytes", ctypes.c_size_t, number)
        self.init = self.function("init", pointer, pointer, ctypes.c_size_t, number, pointer, pointer)
        self.prepare = self.function("prepare", None, pointer)
        self.run = self.function("run", number, pointer, arrays, arrays)
        self.pool_create = self._library.es_pool_create
        self.pool_create.argtypes = [arrays, ctypes.c_int]
        self.pool_destroy = self._library.es_pool_destroy
        self.pool_destroy.argtypes = [pointer]
        self.parallel_for = ctypes.cast(self._library.es_pool_parallel_for, pointer)

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        found = getattr(self._library, f"{_PREFIX}_{name}")
        found.restype, found.argtypes = result, list(arguments)
        return found

    def tensors(self, kind: str) -> dict[str, Tensor]:
        info = self.function(kind, ctypes.POINTER(_TensorInfo), ctypes.c_int32)
        rows = [info(i).contents for i in range(self.function(f"{kind}_count", ctypes.c_int32)())]
        return {
            row.name.decode(): Tensor(tuple(row.shape[: row.rank] if row.rank else ()), np.dtype(_DTYPES[row.dtype]))
            for row in rows
        }


class _Context:
    """Memory and threads of one run at a time."""

    def __init__(self, library: _Library, threads: int) -> None:
        self.process = os.getpid()
        self._library = library
        self._pool = ctypes.c_void_p()
        nbytes = library.context_bytes(threads)
        self._memory = np.zeros(nbytes + _ALIGNMENT, np.uint8)
        address = -(-self._memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        if threads > 1 and library.pool_create(ctypes.byref(self._pool), threads):
            raise RuntimeError(f"cannot start {threads} threads")
        parallel_for = library.parallel_for if threads > 1 else None
        self._handle = library.init(address, nbytes, threads, parallel_for, self._pool)
        if not self._handle:
            raise RuntimeError("the network refused its memory")
        library.prepare(self._handle)

    def run(self, inputs: list[np.ndarray[Any, Any]], outputs: list[np.ndarray[Any, Any]]) -> None:
        status = self._library.run(self._handle, _pointers(inputs), _pointers(outputs))
        if status:
            raise RuntimeError(f"the network returned status {status}")

    def __del__(self) -> None:
        if getattr(self, "_pool", None) and self.process == os.getpid():
            self._library.pool_destroy(self._pool)


def _pointers(arrays: list[np.ndarray[Any, Any]]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*[a.ctypes.data for a in arrays])


def _checked(name: str, value: Any, tensor: Tensor) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype != tensor.dtype:
        raise ValueError(f"{name}: the elements are {array.dtype}, the network takes {tensor.dtype}")
    if array.shape != tensor.shape:
        raise ValueError(f"{name}: the shape is {array.shape}, the network takes {tensor.shape}")
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy()


def _check_processor() -> None:
    """Instructions that are missing would end the process without a word."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    listed = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    missing = set(_FLAGS) - set(listed[0]) if listed else ()
    if missing:
        raise RuntimeError(f"compiled for {_TARGET}; this processor lacks {', '.join(sorted(missing))}")
