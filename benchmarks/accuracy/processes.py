"""Programs that say on standard output how far they are, a JSON object a line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesmith.errors import EdgesmithError


def follow(
    command: Sequence[str],
    log: Path,
    heard: Callable[[dict[str, Any]], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end.

    Args:
        log: file for what it says on standard error.
        heard: gets each line.
        environment: further variables.

    Raises:
        EdgesmithError: it fails; with the last lines that it said.
    """
    with (
        log.open("w") as errors,
        subprocess.Popen(
            list(command), stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **(environment or {})}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                heard(json.loads(line))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["no reason given"]
        raise EdgesmithError(f"ended with status {process.returncode}: {said[-1].strip()}", hint=f"all of it: {log}")
