"""Frames to and from a program that answers on its standard output: docs/serving.md specifies them.

The program may run here, in an emulator, or behind ``ssh``: a command on this machine whose input and output reach it.
"""

from __future__ import annotations

import os
import selectors
import signal
import struct
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from edgesmith.errors import DeviceError

__all__ = ["VERSION", "Channel", "Lost", "Refused"]

VERSION = 2
MAGIC = b"\x89ESM\r\n\x1a\n"
HEADER = struct.Struct("<HHQ")
ERROR = 0xFFFF
MOST_NOISE_BYTES = 1 << 16
"""Printed before the greeting by a device's log-in scripts."""
PIECE_BYTES = 1 << 20
KEPT_ERROR_BYTES = 1 << 14
GREETING_SECONDS = 60.0
ENDING_SECONDS = 5.0
LAST_LINES = 5


class Refused(DeviceError):
    """The program answered with an error: it is reached and works, and does not do what it was asked."""


class Lost(DeviceError):
    """The connection is lost, or the program ended.

    Args:
        status: exit status of the command; None: it did not end by itself.
    """

    def __init__(self, why: str, *, where: str = "", hint: str = "", status: int | None = None) -> None:
        super().__init__(why, where=where, hint=hint)
        self.status = status


class Channel:
    """A program that serves.

    Args:
        command: starts it.
        name: of the machine, for messages.
        service: the number of the service that it must offer.
        seconds: without any sign of life, after which it counts as hung.

    Raises:
        DeviceError: it cannot be started, or does not greet.
    """

    def __init__(self, command: Sequence[str], name: str, service: int, seconds: float = 120.0) -> None:
        self.name, self.seconds = name, seconds
        self._received, self._said, self._tag = bytearray(), bytearray(), 0
        try:
            # In a session of its own, Ctrl-C does not reach it: it ends in order, when its input does.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]}: {error.strerror or error}", where=name) from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
        for stream in (self._in, self._out, self._err):
            os.set_blocking(stream.fileno(), False)
        self._streams = selectors.DefaultSelector()
        self._streams.register(self._out, selectors.EVENT_READ)
        self._streams.register(self._err, selectors.EVENT_READ)
        try:
            self._greeted(service)
        except BaseException:
            self.close()
            raise

    def ask(self, kind: int, *parts: bytes | memoryview, most_bytes: int = 0, seconds: float | None = None) -> bytes:
        """The content of the answer to a request.

        Args:
            parts: the content of the request.
            most_bytes: an answer with more is refused.
            seconds: instead of the channel's, for what takes its time.

        Raises:
            Refused: the program says so.
            DeviceError: the connection is lost, the program crashed or hangs, or what it says makes no sense.
        """
        self._tag = (self._tag + 1) % 0x10000
        size = sum(memoryview(p).nbytes for p in parts)
        patience = self.seconds if seconds is None else seconds
        self._send((HEADER.pack(kind, self._tag, size), *parts), patience)
        found, tag, size = HEADER.unpack(self._take(HEADER.size, patience))
        if tag != self._tag or found not in (kind, ERROR) or size > max(most_bytes, KEPT_ERROR_BYTES):
            raise self._lost("it sent something else than the answer")
        content = self._take(size, patience)
        if found == ERROR:
            raise Refused(content.decode(errors="replace"), where=self.name)
        return content

    def close(self) -> None:
        """End the program, in order if it listens."""
        self._streams.close()
        for stream in (self._in, self._out, self._err):
            with suppress(OSError):
                stream.close()
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _greeted(self, service: int) -> None:
        """Wait for the greeting, behind whatever log-in scripts print."""
        while MAGIC not in self._received:
            if len(self._received) > MOST_NOISE_BYTES:
                raise self._lost("it prints, and does not greet")
            self._wait(GREETING_SECONDS)
        del self._received[: self._received.index(MAGIC) + len(MAGIC)]
        version, found = struct.unpack("<HH", self._take(4, GREETING_SECONDS))
        if version != VERSION or found != service:
            raise DeviceError(
                f"the program offers service {found} in version {version}, not {service} in {VERSION}",
                where=self.name,
                hint="compile the model again",
            )

    def _send(self, parts: Sequence[bytes | memoryview], seconds: float) -> None:
        """Everything, reading meanwhile what comes, so that neither side waits for the other."""
        for part in parts:
            data = memoryview(part).cast("B")
            while data:
                try:
                    written = os.write(self._in.fileno(), data[:PIECE_BYTES])
                except BlockingIOError:
                    self._streams.register(self._in, selectors.EVENT_WRITE)
                    try:
                        self._wait(seconds)
                    finally:
                        self._streams.unregister(self._in)
                    continue
                except OSError:
                    # Its last words may be an answer that says why.
                    return
                data = data[written:]

    def _take(self, count: int, seconds: float) -> bytes:
        while len(self._received) < count:
            self._wait(seconds)
        taken = bytes(memoryview(self._received)[:count])
        del self._received[:count]
        return taken

    def _wait(self, seconds: float) -> None:
        """Until something can be read or written."""
        ready = self._streams.select(seconds)
        if not ready:
            raise self._lost(f"no sign of life for {seconds:.0f} s")
        for key, _ in ready:
            if key.fileobj is self._in:
                continue
            data = os.read(key.fd, PIECE_BYTES)
            if key.fileobj is self._err:
                self._said = (self._said + data)[-KEPT_ERROR_BYTES:]
                if not data:
                    self._streams.unregister(self._err)
            elif data:
                self._received += data
            else:
                raise self._lost("")

    def _lost(self, why: str) -> Lost:
        """What to say when the program is gone, or of no use, which is ``why``."""
        status: int | None = None
        if not why:
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(ENDING_SECONDS)
        with suppress(OSError):
            self._said += os.read(self._err.fileno(), PIECE_BYTES) or b""
        said = self._said.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        reason = why or ("the connection was lost" if status is None else _ending(status))
        return Lost("\n".join((reason, *said)), where=self.name, status=status)


def _ending(status: int) -> str:
    return (
        f"the program was ended by signal {-status}" if status < 0 else f"the program ended with exit status {status}"
    )
