"""WebAssembly in this process: wasmtime runs a model's modules.

The library is a reactor, whose functions are those of ``es_abi.h``; arrays are copied into its memory. The executable
is a command of WASI.
"""

from __future__ import annotations

import ctypes as c
import subprocess
import tempfile
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesmith.device.artifact import Artifact
from edgesmith.device.device import Device
from edgesmith.device.instance import Instance, StepTimes
from edgesmith.device.local import ABI_VERSION, checked_threads
from edgesmith.errors import ArtifactError, BadInput, TargetError
from edgesmith.ir import DType, TensorType, View
from edgesmith.target import Target

if TYPE_CHECKING:
    import wasmtime

__all__ = ["WasmInstance", "Wasmtime"]

ALIGNMENT = 64
_ARENA, _INPUT = 0, 3
MOST_FUEL = 2**63 - 1
ABORTED = 134
"""Exit status of programs that a trap ends, as of those that abort."""


class _ValueInfo(c.LittleEndianStructure):
    """``es_value_info`` with pointers of 32 bits."""

    _fields_ = [(name, c.c_uint32) for name in ("name", "dtype", "rank", "shape", "strides", "space", "offset")]


@dataclass(frozen=True)
class Wasmtime(Device):
    """The engine of the ``wasmtime`` package."""

    @classmethod
    def of(cls, target: Target) -> Wasmtime:
        """It, for a target of its architecture; raises ``TargetError`` where it is not installed."""
        if find_spec("wasmtime") is None:
            raise TargetError("wasmtime is not installed", where=str(target), hint="pip install 'edgesmith[wasm]'")
        return cls()

    @property
    def name(self) -> str:
        return f"wasmtime {version('wasmtime')}"

    def open(self, artifact: Artifact, threads: int = 1) -> WasmInstance:
        if checked_threads(threads) > 1:
            raise BadInput("programs of WebAssembly have one thread", where="threads")
        return WasmInstance(artifact)

    def start(self, program: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        import wasmtime

        engine = _engine(False)
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            files = [Path(folder) / name for name in ("stdout", "stderr")]
            wasi = wasmtime.WasiConfig()
            wasi.argv = [program.name, *arguments]
            wasi.stdout_file, wasi.stderr_file = map(str, files)
            folders = {Path(a).parent for a in arguments if Path(a).is_absolute()}
            for parent in sorted(str(f) for f in folders if f.is_dir()):
                wasi.preopen_dir(parent, parent)
            linker = wasmtime.Linker(engine)
            linker.define_wasi()
            status, trap = 0, ""
            with closing(wasmtime.Store(engine)) as store:
                store.set_wasi(wasi)
                try:
                    instance = linker.instantiate(store, _module(program.read_bytes(), False))
                    instance.exports(store)["_start"](store)  # type: ignore[operator]
                except wasmtime.ExitTrap as ended:
                    status = ended.code
                except OSError as error:
                    raise ArtifactError(f"cannot be read: {error.strerror}", where=str(program)) from error
                except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
                    status, trap = ABORTED, str(error)
            said, complained = (f.read_text(errors="replace") if f.exists() else "" for f in files)
        return subprocess.CompletedProcess([str(program), *arguments], status, said, complained + trap)


@cache
def _engine(counts: bool) -> wasmtime.Engine:
    import wasmtime

    config = wasmtime.Config()
    # Multiply-adds are fused, whatever this processor has.
    config.wasm_relaxed_simd_deterministic = True
    config.consume_fuel = counts
    return wasmtime.Engine(config)


@lru_cache(maxsize=4)
def _module(content: bytes, counts: bool) -> wasmtime.Module:
    """Compiled for this machine."""
    import wasmtime

    return wasmtime.Module(_engine(counts), content)


class WasmInstance(Instance):
    """A model's library with memory of its own.

    Args:
        counts: count what is executed (see ``executed``), which takes longer.

    Raises:
        ArtifactError: the library is damaged, or refuses.
    """

    def __init__(self, artifact: Artifact, *, counts: bool = False) -> None:
        import wasmtime

        self._artifact, self._prefix = artifact, artifact.name
        engine = _engine(counts)
        self._store = wasmtime.Store(engine)
        if counts:
            self._store.set_fuel(MOST_FUEL)
        try:
            module = _module(artifact.library.read_bytes(), counts)
            self._exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        except (OSError, wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise ArtifactError(f"cannot load the program: {error}", where=str(artifact.library)) from error
        memory = dict(self._exports).get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise ArtifactError("exports no memory", where=str(artifact.library), hint="compile the model again")
        self._memory = memory
        self._call("_initialize")
        found = self._call(f"{self._prefix}_abi_version")
        if found != ABI_VERSION:
            raise ArtifactError(
                f"the program has ABI version {found}, this Edgesmith runs {ABI_VERSION}",
                where=str(artifact.library),
                hint="compile the model again",
            )
        self.steps = int(self._call(f"{self._prefix}_step_count"))
        self._values = self._value_table()
        nbytes = self._call(f"{self._prefix}_context_bytes", 1)
        self._context = self._call(f"{self._prefix}_init", self._allocated(nbytes), nbytes, 1, 0, 0)
        if not self._context:
            raise ArtifactError("the program refused its memory", where=str(artifact.library))
        self._call(f"{self._prefix}_prepare", self._context)
        self._places = [
            [self._allocated(t.nbytes) for t in types.values()] for types in (artifact.inputs, artifact.outputs)
        ]
        self._pointers = [self._words(places) for places in self._places]

    @property
    def executed(self) -> int:
        """Fuel used up so far: about one for each instruction of WebAssembly, the same on every machine."""
        return MOST_FUEL - self._store.get_fuel()

    def bind(self, inputs: Sequence[np.ndarray]) -> None:
        for array, place in zip(inputs, self._places[0], strict=True):
            self._bytes[place : place + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self._checked("bind", *self._pointers)

    def run_steps(self, begin: int, end: int) -> None:
        self._checked("run_steps", begin, end)

    def outputs(self) -> list[np.ndarray]:
        types = self._artifact.outputs.values()
        return [self._array(at, t).copy() for at, t in zip(self._places[1], types, strict=True)]

    def read(self, value: str) -> np.ndarray:
        return self._value(value).copy()

    def write(self, value: str, array: np.ndarray) -> None:
        self._value(value)[...] = array

    def checksum(self, value: str) -> int:
        return zlib.crc32(np.ascontiguousarray(self._value(value)).data)

    def time_steps(self, repetitions: int) -> StepTimes:
        steps, empty = (np.empty((repetitions, self.steps)) for _ in range(2))
        whole = np.empty(repetitions)
        for i in range(repetitions):
            for step in range(self.steps):
                empty[i, step] = self._time(0, 0)
                steps[i, step] = self._time(step, step + 1)
            whole[i] = self._time(0, self.steps)
        return StepTimes(steps, whole, empty.reshape(-1))

    def close(self) -> None:
        self._store.close()

    def _time(self, begin: int, end: int) -> float:
        """Nanoseconds."""
        start = time.perf_counter_ns()
        self.run_steps(begin, end)
        return float(time.perf_counter_ns() - start)

    def _call(self, function: str, *arguments: int) -> Any:
        import wasmtime

        try:
            result = self._exports[function](self._store, *arguments)  # type: ignore[operator]
        except KeyError as error:
            raise ArtifactError(f"has no function {function}", where=str(self._artifact.library)) from error
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise ArtifactError(f"{function}: {error}", where=str(self._artifact.library)) from error
        return result & 0xFFFFFFFF if isinstance(result, int) else result

    def _checked(self, function: str, *arguments: int) -> None:
        if status := self._call(f"{self._prefix}_{function}", self._context, *arguments):
            raise ArtifactError(f"{function} returned status {status}", where=str(self._artifact.library))

    @property
    def _bytes(self) -> np.ndarray:
        """The memory; where it lies changes when it grows."""
        return np.ctypeslib.as_array(self._memory.data_ptr(self._store), (self._memory.data_len(self._store),))

    def _allocated(self, nbytes: int) -> int:
        """Address of zeroed memory."""
        size = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        place = int(self._call("aligned_alloc", ALIGNMENT, size))
        if not place:
            raise ArtifactError(f"no memory for {nbytes} bytes", where=str(self._artifact.library))
        self._bytes[place : place + size] = 0
        return place

    def _words(self, numbers: Sequence[int]) -> int:
        """Address of numbers of 32 bits."""
        place = self._allocated(4 * len(numbers))
        self._bytes[place : place + 4 * len(numbers)] = np.array(numbers, "<u4").view(np.uint8)
        return place

    def _array(self, place: int, type: TensorType) -> np.ndarray:
        return np.ndarray(type.shape, type.dtype.numpy, self._bytes.data, place)

    def _value(self, name: str) -> np.ndarray:
        space, offset, view = self._values[name]
        kind, index = space % 16, space // 16
        if kind == _ARENA:
            base = self._call(f"{self._prefix}_arena", self._context)
        else:
            base = self._places[0 if kind == _INPUT else 1][index]
        strides = tuple(s * view.dtype.itemsize for s in view.strides)
        return np.ndarray(view.shape, view.dtype.numpy, self._bytes.data, base + offset, strides)

    def _value_table(self) -> dict[str, tuple[int, int, View]]:
        table = {}
        for i in range(self._call(f"{self._prefix}_value_count")):
            at = self._call(f"{self._prefix}_value", i)
            r = _ValueInfo.from_buffer_copy(self._bytes[at : at + c.sizeof(_ValueInfo)].tobytes())
            shape, strides = (
                tuple(map(int, self._bytes[a : a + 8 * r.rank].view("<i8"))) if r.rank else ()
                for a in (r.shape, r.strides)
            )
            end = r.name + int(np.argmin(self._bytes[r.name :]))
            table[bytes(self._bytes[r.name : end]).decode()] = (r.space, r.offset, View(shape, strides, DType(r.dtype)))
        return table
