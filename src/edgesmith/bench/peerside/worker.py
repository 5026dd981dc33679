"""One runtime in a process of its own, told what to do by lines of JSON; runs in the runtime's virtual environment.

    python worker.py PEER_FILE

Each line on standard input is a request, each line on standard output its answer: ``{"ok": ...}`` or
``{"error": "..."}``. Arrays pass through ``.npy`` files. Between requests the process waits for the next line.

    {"do": "convert", "model": FILE.onnx, "folder": FOLDER}
    {"do": "load", "model": FILE.onnx, "folder": FOLDER, "inputs": {NAME: FILE.npy}, "outputs": [NAME], "threads": N}
    {"do": "results", "files": [FILE.npy]}
    {"do": "time", "runs": N}
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class Worker:
    """Answers the requests for one peer."""

    def __init__(self, peer: ModuleType) -> None:
        self._peer = peer
        self._feeds: dict[str, np.ndarray] = {}
        self._run: Callable[[], Any] | None = None
        self._read: Callable[[], list[np.ndarray]] | None = None

    def answer(self, request: dict[str, Any]) -> Any:
        """What the request asks for, as JSON can say it."""
        return getattr(self, f"do_{request.pop('do')}")(**request)

    def do_convert(self, model: str, folder: str) -> None:
        self._peer.convert(Path(model), Path(folder))

    def do_load(self, model: str, folder: str, inputs: dict[str, str], outputs: list[str], threads: int) -> Any:
        """The settings that it runs with."""
        self._feeds = {name: np.load(file) for name, file in inputs.items()}  # runtimes may keep addresses only
        run, settings = self._peer.load(Path(model), Path(folder), self._feeds, outputs, threads)
        self._run, self._read = run if isinstance(run, tuple) else (run, None)
        return settings

    def do_results(self, files: list[str]) -> None:
        results = self._running()()
        for file, array in zip(files, self._read() if self._read else results, strict=True):
            np.save(file, np.asarray(array))

    def do_time(self, runs: int) -> list[int]:
        """Nanoseconds of each run."""
        run, now = self._running(), time.perf_counter_ns
        taken = []
        for _ in range(runs):
            start = now()
            run()
            taken.append(now() - start)
        return taken

    def _running(self) -> Callable[[], Any]:
        if self._run is None:
            raise RuntimeError("nothing is loaded")
        return self._run


def main() -> None:
    """Answer until standard input ends. What the runtime prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Behind the environment's own packages, some of which have the name of a file here.
    sys.path.append(str(Path(__file__).parent))
    spec = importlib.util.spec_from_file_location("peer", sys.argv[1])
    if spec is None or spec.loader is None:
        raise SystemExit(f"{sys.argv[1]} is no Python file")
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    worker = Worker(peer)
    for line in sys.stdin:
        try:
            answer = {"ok": worker.answer(json.loads(line))}
        except Exception as error:  # whatever the runtime raises is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
