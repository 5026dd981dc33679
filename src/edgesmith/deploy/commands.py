"""Commands of this machine that talk to a device, which may fall silent or not stop talking."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgesmith.errors import DeviceError, Unreachable
from edgesmith.processes import owned_process

__all__ = ["ran"]

QUIET_SECONDS = 600.0
"""Without a byte in either direction, after which a command counts as hung."""
MOST_BYTES = 16 << 20
"""That a command may print."""
CHUNK = 1 << 16
POLL_SECONDS = 1.0


def ran(command: Sequence[str], name: str, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Args:
        name: of the device, for messages.
        stdin: a file that it reads.

    Raises:
        DeviceError: it is not installed, or prints too much.
        Unreachable: it hangs.
    """
    with (stdin or Path(os.devnull)).open("rb") as source, _started(command, name) as process:
        talk = _Talk(process, source)
        talk.finish(name)
        code = process.wait()
    said, complained = (bytes(b).decode(errors="replace") for b in talk.printed)
    return subprocess.CompletedProcess(list(command), code, said, complained)


@contextmanager
def _started(command: Sequence[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        try:
            process = stack.enter_context(owned_process(command, stdin=pipe, stdout=pipe, stderr=pipe))
        except FileNotFoundError as error:
            raise DeviceError(f"{command[0]} is not installed", where=name) from error
        yield process


class _Talk:
    """Bytes to and from a process."""

    def __init__(self, process: subprocess.Popen[bytes], source: BinaryIO) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.printed = (bytearray(), bytearray())
        self._last = time.monotonic()
        self._threads = [
            threading.Thread(target=self._listen, args=(pipe, kept), daemon=True)
            for pipe, kept in zip((process.stdout, process.stderr), self.printed, strict=True)
        ]
        self._threads.append(threading.Thread(target=self._tell, args=(process.stdin, source), daemon=True))
        for thread in self._threads:
            thread.start()

    def finish(self, name: str) -> None:
        """Wait for the end of what it prints."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(POLL_SECONDS)
                if max(map(len, self.printed)) > MOST_BYTES:
                    raise DeviceError(f"printed more than {MOST_BYTES >> 20} MiB", where=name)
                if time.monotonic() - self._last > QUIET_SECONDS:
                    raise Unreachable(f"no sign of life for {QUIET_SECONDS:.0f} s", where=name)

    def _listen(self, pipe: BinaryIO, kept: bytearray) -> None:
        with pipe:
            while len(kept) <= MOST_BYTES and (chunk := os.read(pipe.fileno(), CHUNK)):
                self._last = time.monotonic()
                kept += chunk

    def _tell(self, pipe: BinaryIO, source: BinaryIO) -> None:
        with suppress(BrokenPipeError), pipe:
            while chunk := source.read(CHUNK):
                pipe.write(chunk)
                pipe.flush()
                self._last = time.monotonic()
