"""The parent's side of a runtime in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edgesmith import knobs
from edgesmith.errors import EdgesmithError

__all__ = ["PeerFailed", "Worker"]

_SCRIPT = Path(__file__).parent / "peerside" / "worker.py"
_GRACE_SECONDS = 5.0
_QUIET_SECONDS = 0.004
_SETTLE_SECONDS = 2.0
_TAIL_LINES = 6
_CHUNK = 1 << 16


class PeerFailed(EdgesmithError):
    """A peer cannot be installed, refuses the model, crashed or took too long; the run goes on without it."""


class Worker:
    """A process that answers requests; see ``peerside/worker.py``. A context manager, which ends it.

    Args:
        python: interpreter of the peer's environment.
        file: the peer's file.
        name: for messages.
    """

    def __init__(self, python: Path, file: Path, name: str) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [str(python), "-I", str(_SCRIPT), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C is for the parent, which ends the workers by closing their input.
            start_new_session=True,
        )
        self._rest = b""

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, at once if it does not end by itself soon."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            process.wait()
        process.stdout.close()
        self._log.close()

    def convert(self, model: Path, folder: Path) -> None:
        """Write the model in the peer's format into ``folder``."""
        self._ask(do="convert", model=str(model), folder=str(folder))

    def load(
        self, model: Path, folder: Path, inputs: dict[str, Path], outputs: Sequence[str], threads: int
    ) -> dict[str, Any]:
        """Load the model and return the settings it runs with."""
        files = {name: str(file) for name, file in inputs.items()}
        answer = self._ask(
            do="load", model=str(model), folder=str(folder), inputs=files, outputs=list(outputs), threads=threads
        )
        return dict(answer)

    def results(self, files: Sequence[Path]) -> None:
        """Run once and write the outputs, in order, as ``.npy`` files."""
        self._ask(do="results", files=[str(f) for f in files])

    def time(self, runs: int) -> list[float]:
        """Nanoseconds of each of some runs; afterwards the process is idle: none of its threads spins."""
        taken = [float(t) for t in self._ask(do="time", runs=runs)]
        self._settle()
        return taken

    def busy_seconds(self) -> float | None:
        """Processor time of all its threads so far; None where the system does not tell."""
        total = 0.0
        try:
            for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    total += int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            return None
        return total

    def _kill(self) -> None:
        """End the process and all that it started, which would go on taking processor time."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _settle(self) -> None:
        end = time.monotonic() + _SETTLE_SECONDS
        before = self.busy_seconds()
        while before is not None and time.monotonic() < end:
            time.sleep(_QUIET_SECONDS)
            after = self.busy_seconds()
            if after == before:
                return
            before = after

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._died() from None
        answer = json.loads(self._line(request["do"]))
        if "error" in answer:
            raise PeerFailed(answer["error"].strip(), where=self.name)
        return answer["ok"]

    def _line(self, what: str) -> bytes:
        assert self._process.stdout is not None
        limit = knobs.PEER_SECONDS()
        end = time.monotonic() + limit
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as ready:
            ready.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not ready.select(end - time.monotonic()):
                    self._kill()
                    raise PeerFailed(
                        f"{what} took more than {limit} s",
                        where=self.name,
                        hint=f"allow more: {knobs.PEER_SECONDS.name}",
                    )
                chunk = os.read(descriptor, _CHUNK)
                if not chunk:
                    raise self._died()
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _died(self) -> PeerFailed:
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return PeerFailed(f"its process ended with {how}: {' / '.join(last)}".rstrip(": "), where=self.name)
