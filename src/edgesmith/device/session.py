"""A program that runs in another process, here or on a device, and does what it is told (docs/serving.md)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from edgesmith.device.artifact import Artifact
from edgesmith.device.channel import Channel
from edgesmith.device.instance import Instance, StepTimes
from edgesmith.device.local import checked_threads
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.ir import DType, TensorType

__all__ = ["MODEL_SERVICE", "Description", "Session", "arguments"]

MODEL_SERVICE = 1
MOST_DESCRIPTION_BYTES = 64 << 20
MOST_TIMES = 1 << 20
"""Times that one request may ask for."""
RUN_SECONDS = 3600.0
"""After which a run counts as hung: emulated ones take their time."""


class Request(IntEnum):
    """Of the service of a model."""

    DESCRIBE = 1
    WRITE_INPUT = 2
    READ_OUTPUT = 3
    RUN = 4
    READ_VALUE = 5
    WRITE_VALUE = 6
    CHECKSUM = 7
    TIME = 8
    THREADS = 9
    BYE = 10


@dataclass(frozen=True)
class Description:
    """What a program says about itself.

    Args:
        abi: version of its interface.
        version: of Edgesmith.
        build: digest of its sources.
        variant: of a program for several instruction sets, the one that runs.
        steps: name and kernel of each.
    """

    abi: int
    threads: int
    version: str
    build: str
    variant: str
    inputs: dict[str, TensorType]
    outputs: dict[str, TensorType]
    values: dict[str, TensorType]
    steps: tuple[tuple[str, str], ...]

    @classmethod
    def from_bytes(cls, content: bytes) -> Description:
        """Raises ``ValueError`` when it is malformed."""
        reader = _Reader(content)
        abi, threads = reader.u32(), reader.u32()
        version, build, variant = reader.text(), reader.text(), reader.text()
        inputs, outputs, values = ({**dict(reader.tensors())} for _ in range(3))
        steps = []
        for _ in range(reader.u32()):
            steps.append((reader.text(), reader.text()))
            reader.skip("<Iqq")
        reader.end()
        return cls(abi, threads, version, build, variant, inputs, outputs, values, tuple(steps))


class Session(Instance):
    """A program at the other end of a channel, which closes with it.

    Args:
        artifact: what it must be.

    Raises:
        ArtifactError: it is another program.
        DeviceError: it is out of reach.
    """

    def __init__(self, channel: Channel, artifact: Artifact) -> None:
        self._channel, self._artifact = channel, artifact
        try:
            self.description = self._describe()
        except BaseException:
            channel.close()
            raise
        self.variant = self.description.variant
        self._values = {name: i for i, name in enumerate(self.description.values)}

    @classmethod
    def start(cls, command: Sequence[str], name: str, artifact: Artifact) -> Session:
        """Start a program.

        Args:
            command: starts it, with ``arguments``.
            name: of the machine, for messages.
        """
        if not artifact.executable.is_file():
            raise ArtifactError("has no executable", where=str(artifact.path), hint="compile the model again")
        return cls(Channel(command, name, MODEL_SERVICE), artifact)

    @property
    def name(self) -> str:
        """Of the machine, for messages."""
        return self._channel.name

    def bind(self, inputs: Sequence[np.ndarray]) -> None:
        for i, array in enumerate(inputs):
            self._ask(Request.WRITE_INPUT, _u32(i), _bytes(array))

    def run_steps(self, begin: int, end: int) -> None:
        self.run_ns(begin, end)

    def run_ns(self, begin: int, end: int) -> int:
        """Run steps; gives the nanoseconds that they took, by the clock of the machine."""
        (taken,) = struct.unpack(
            "<q", self._ask(Request.RUN, _u32(begin), _u32(end), most_bytes=8, seconds=RUN_SECONDS)
        )
        return int(taken)

    def outputs(self) -> list[np.ndarray]:
        types = self.description.outputs.values()
        return [_array(self._ask(Request.READ_OUTPUT, _u32(i), most_bytes=t.nbytes), t) for i, t in enumerate(types)]

    def read(self, value: str) -> np.ndarray:
        type = self.description.values[value]
        return _array(self._ask(Request.READ_VALUE, _u32(self._values[value]), most_bytes=type.nbytes), type)

    def write(self, value: str, array: np.ndarray) -> None:
        type = self.description.values[value]
        dense = np.broadcast_to(np.asarray(array, type.dtype.numpy), type.shape)
        self._ask(Request.WRITE_VALUE, _u32(self._values[value]), _bytes(dense))

    def checksum(self, value: str) -> int:
        (crc,) = struct.unpack("<I", self._ask(Request.CHECKSUM, _u32(self._values[value]), most_bytes=4))
        return int(crc)

    def time_steps(self, repetitions: int) -> StepTimes:
        columns = len(self.description.steps) + 2
        at_once = max(MOST_TIMES // columns, 1)
        parts = []
        while repetitions > 0:
            count = min(repetitions, at_once)
            content = self._ask(Request.TIME, _u32(count), most_bytes=8 * count * columns, seconds=RUN_SECONDS)
            parts.append(np.frombuffer(content, "<i8").reshape(count, columns))
            repetitions -= count
        times = np.concatenate(parts).astype(np.float64)
        return StepTimes(times[:, :-2], times[:, -2], times[:, -1])

    def set_threads(self, threads: int) -> None:
        """Go on with another number of threads; inputs are to be bound anew."""
        self._ask(Request.THREADS, _u32(checked_threads(threads)))

    def close(self) -> None:
        self._channel.close()

    def _ask(
        self, kind: Request, *parts: bytes | memoryview, most_bytes: int = 0, seconds: float | None = None
    ) -> bytes:
        return self._channel.ask(kind, *parts, most_bytes=most_bytes, seconds=seconds)

    def _describe(self) -> Description:
        content = self._ask(Request.DESCRIBE, most_bytes=MOST_DESCRIPTION_BYTES)
        try:
            found = Description.from_bytes(content)
        except ValueError as error:
            raise DeviceError(
                f"the program describes itself in a way that makes no sense: {error}", where=self.name
            ) from error
        artifact = self._artifact
        same = (found.inputs, found.outputs) == (artifact.inputs, artifact.outputs)
        if not same or found.build != artifact.manifest.get("build", found.build):
            raise ArtifactError(
                f"the program on {self.name} is another one", where=str(artifact.path), hint="compile the model again"
            )
        return found


def arguments(artifact: Artifact, threads: int) -> list[str]:
    """What makes an artifact's executable serve."""
    return ["--serve", "--threads", str(threads), *artifact.words]


class _Reader:
    """Numbers and texts one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def skip(self, form: str) -> tuple[Any, ...]:
        try:
            found = struct.unpack_from(form, self._content, self._at)
        except struct.error as error:
            raise ValueError(str(error)) from error
        self._at += struct.calcsize(form)
        return found

    def u32(self) -> int:
        return int(self.skip("<I")[0])

    def text(self) -> str:
        size = self.u32()
        if size > len(self._content) - self._at:
            raise ValueError("a text that does not end")
        self._at += size
        return self._content[self._at - size : self._at].decode()

    def tensors(self) -> list[tuple[str, TensorType]]:
        found = []
        for _ in range(self.u32()):
            name, dtype, rank = self.text(), self.u32(), self.u32()
            if rank > len(self._content):
                raise ValueError(f"rank {rank}")
            found.append((name, TensorType(tuple(map(int, self.skip(f"<{rank}q"))), DType(dtype))))
        return found

    def end(self) -> None:
        if self._at != len(self._content):
            raise ValueError("more than a description")


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _array(content: bytes, type: TensorType) -> np.ndarray:
    if len(content) != type.nbytes:
        raise DeviceError(f"sent {len(content)} bytes of a tensor of {type.nbytes}")
    return np.frombuffer(content, type.dtype.numpy).reshape(type.shape).copy()
