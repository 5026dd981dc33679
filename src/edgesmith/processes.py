"""Processes of other programs that do not outlive what is done with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from edgesmith.interruption import Interruption

__all__ = ["owned_process"]


@contextmanager
def owned_process(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is killed with all that it started when the block fails.

    A Ctrl-C that comes while it starts waits until there is something to kill.

    Args:
        options: of ``subprocess.Popen``.

    Raises:
        OSError: it cannot be started.
    """
    process = None
    try:
        with Interruption() as interruption:
            process = subprocess.Popen(command, process_group=0, **options)
        if interruption.wanted:
            raise KeyboardInterrupt
        yield process
    except BaseException:
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise
