"""What a training run tells: a line of JSON an event, TensorBoard, and the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edgesmith.atomic import write_file
from edgesmith.compress.training.callbacks import RunState
from edgesmith.compress.training.history import Epoch, History
from edgesmith.errors import MissingDependency

__all__ = ["JsonLog", "Logs", "TensorBoardLog", "Terminal"]


class JsonLog:
    """Lines of JSON, each with the step after which it was written.

    Args:
        path: appended to.
        step: the last one of an epoch that is over; lines of later steps, and one that was cut off, are removed.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = []
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue
        write_file(path, "".join(kept if step else []).encode())

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class TensorBoardLog:
    """Event files that TensorBoard shows.

    Args:
        folder: its log directory.
        step: events from here on replace earlier ones.

    Raises:
        MissingDependency: the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependency(
                "TensorBoard is not installed", where="training", hint="pip install edgesmith[tensorboard]"
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Terminal:
    """A progress bar on standard error, or one line an epoch where that is no terminal.

    Args:
        steps: of the whole run.
        done: of them, before a resumed run goes on.
        shown: False: nothing at all.
    """

    def __init__(self, steps: int, done: int, shown: bool) -> None:
        console = Console(file=sys.stderr, highlight=False)
        self._lines = shown and not console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
            disable=not shown or not console.is_terminal,
        )
        self._task: TaskID = self._bars.add_task("training", total=steps, completed=done, told="")
        self._bars.start()

    def step(self, done: int) -> None:
        self._bars.update(self._task, completed=done)

    def epoch(self, text: str) -> None:
        self._bars.update(self._task, told=text)
        if self._lines:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        self._bars.stop()


class Logs:
    """Where a run's figures go.

    Args:
        folder: for ``log.jsonl`` and, where ``tensorboard`` is set, event files; None: neither.
        now: where the run begins or goes on.
        history: the epochs that are over.
        shown: on the terminal too.
    """

    def __init__(self, folder: Path | None, now: RunState, history: History, tensorboard: bool, shown: bool) -> None:
        self._epochs = now.settings.epochs
        over = history.epochs[-1].step if history.epochs else 0
        self._json = JsonLog(folder / "log.jsonl", over) if folder else None
        self._board = TensorBoardLog(folder / "tensorboard", over) if folder and tensorboard else None
        self.terminal = Terminal(now.steps, now.step, shown)

    def epoch(self, done: Epoch) -> None:
        values = {"epoch": done.epoch, "loss": done.loss, "lr": done.lr, "seconds": done.seconds, **done.values}
        if done.top1 is not None:
            values["top1"] = done.top1
        for log in (self._json, self._board):
            if log:
                log.write(done.step, values)
        self.terminal.epoch(done.line(self._epochs))

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.close()
        if self._board:
            self._board.close()
