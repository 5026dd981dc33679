"""Timing candidates on a device: they are compiled here, sent in batches, and raced there by a small program.

The discipline is that of ``tune.timer``; only turns are taken elsewhere. A candidate that crashes or hangs is refused,
and the program started anew. When the connection is lost, or the device starts anew, what is missing is sent again and
the race begins again, as soon as the device can be reached.
"""

from __future__ import annotations

import hashlib
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

from edgesmith.codegen.package import runtime_files
from edgesmith.deploy import Workplace
from edgesmith.device.channel import Channel, Lost
from edgesmith.device.channel import Refused as Declined
from edgesmith.errors import DeviceError, Unreachable
from edgesmith.target import Processor, Target
from edgesmith.toolchain import Compiler, build
from edgesmith.tune.operands import to_bytes
from edgesmith.tune.timer import BY_COMPILER, RacingTimer, Refused, Turn, inputs
from edgesmith.tune.trial import Trial, write_sources

__all__ = ["RemoteTimer"]

SERVICE = 2
LOAD, TURN, CLEAR = 1, 2, 3
WATCHDOG_SECONDS = 30
"""After which a run of one candidate counts as hung; the device itself ends it."""
SILENCE_SECONDS = 60.0
"""Beyond that, without a sign of life from the device, the connection counts as lost."""
PATIENCE_SECONDS = 600.0
"""How long a device that was reached before is waited for."""
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 30.0
ATTEMPTS = 3
"""How often what the device refuses is tried."""
FAULTS = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGABRT", "SIGALRM")
"""Signals that say that a candidate is wrong; others may come from elsewhere, so it gets another chance."""
LOSSES = 20
"""So many in a row, with a connection in between but no turn that comes to its end, are not waited out."""
HOPELESS = 16
"""When so many candidates fail and none runs, something else is wrong."""
AGAIN = "What was measured is kept; the same command goes on from there."
RUNNER = "runner.c"
RUNTIME = ("es_frame.c", "es_affinity.c")
"""Files of generated packages that the runner is linked with."""


class Ended(Exception):
    """The program on the device is gone, and what it had loaded.

    Args:
        why: what a candidate did; empty: the connection was lost.
        certain: whether that candidate is at fault.
    """

    def __init__(self, why: str, certain: bool = True) -> None:
        super().__init__(why)
        self.why, self.certain = why, certain


class Runner:
    """The program on the device, as long as it can be had.

    Args:
        cpu: number of the processor that it runs on; None: any.
        notify: told why nothing is measured, and, with an empty text, that it goes on.
    """

    def __init__(self, place: Workplace, cpu: int | None, notify: Callable[[str], None]) -> None:
        self._place, self._cpu, self._notify = place, cpu, notify
        self._program: Path | None = None
        self._channel: Channel | None = None

    def use(self, program: Path) -> None:
        """Go on with another program."""
        if program == self._program:
            return
        self.close()
        if self._program:
            with suppress(DeviceError):
                self._place.remove([self._program.name])
        self._program = program

    def ask(self, kind: int, *parts: bytes, most_bytes: int = 0, seconds: float = 0.0) -> bytes:
        """The answer to a request.

        Raises:
            Ended: the program did not answer.
            DeviceError: the device cannot be reached for longer than anybody waits, or refuses to run the program.
        """
        channel = self._channel = self._channel or self._connected()
        try:
            return channel.ask(kind, *parts, most_bytes=most_bytes, seconds=seconds + SILENCE_SECONDS)
        except Declined as error:
            self.close()
            raise Ended(f"the device: {error.why}") from error
        except Lost as error:
            self.close()
            raise _ended(error) from error

    def close(self) -> None:
        """End the program."""
        if self._channel:
            self._channel.close()
            self._channel = None

    def _connected(self) -> Channel:
        assert self._program
        waited, delay, refusals = 0.0, FIRST_DELAY_SECONDS, 0
        while True:
            try:
                self._place.put([self._program])
                arguments = [] if self._cpu is None else [str(self._cpu)]
                channel = self._place.serve(self._program.name, arguments, SERVICE, SILENCE_SECONDS)
                self._notify("")
                return channel
            except DeviceError as error:
                refusals += not isinstance(error, Unreachable)
                if waited >= PATIENCE_SECONDS or refusals >= ATTEMPTS:
                    raise DeviceError(
                        error.why,
                        where=error.where,
                        hint=AGAIN,
                    ) from error
                self._notify(f"{error.why.splitlines()[0]}; trying again in {delay:.0f} s")
            time.sleep(delay)
            waited, delay = waited + delay, min(2 * delay, LONGEST_DELAY_SECONDS)


def _ended(error: Lost) -> Ended:
    status = error.status
    number = 0 if status is None else -status if status < 0 else status - 128 if 128 < status < 255 else 0
    if not number:
        return Ended("")
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if name == "SIGALRM":
        return Ended("hangs")
    return Ended(f"crashes with {name}", certain=name in FAULTS)


@dataclass(frozen=True, eq=False)
class Batch:
    """A program with candidates, which lies here."""

    program: Path


class RemoteTimer(RacingTimer[Batch]):
    """Compiles trials here and runs them on a device; ends its programs there when it is left.

    Args:
        target: of the trials.
        processor: of the device.
        place: a folder there.
        cpu, notify: see ``Runner``.
    """

    def __init__(
        self,
        target: Target,
        compiler: Compiler,
        processor: Processor,
        place: Workplace,
        cpu: int | None = None,
        notify: Callable[[str], None] = lambda _: None,
        *,
        watchdog_seconds: int = WATCHDOG_SECONDS,
    ) -> None:
        super().__init__(processor)
        self._target, self._compiler = target, compiler
        self._runner = Runner(place, cpu, notify)
        self._watchdog = watchdog_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="edgesmith-trials-")
        self._failed, self._succeeded = 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        self._folder.cleanup()

    def _build(self, trials: Sequence[Trial]) -> Batch:
        with tempfile.TemporaryDirectory(prefix="edgesmith-trial-") as name:
            folder = Path(name)
            write_sources(trials, self._target, folder)
            (folder / "trials.h").write_text(TRIALS_HEADER)
            (folder / "trials.c").write_text(_table(trials))
            (folder / RUNNER).write_text((resources.files("edgesmith.tune") / RUNNER).read_text())
            for file, content in runtime_files(self._target).items():
                if file in RUNTIME or file.endswith(".h"):
                    (folder / file).write_bytes(content)
            main = (RUNNER, *RUNTIME)
            made = build(folder, folder, "trials", self._target, self._compiler, main=main, one_piece=True)["exe"]
            digest = hashlib.sha256(made.read_bytes()).hexdigest()[:16]
            return Batch(made.rename(Path(self._folder.name) / f"trials-{digest}"))

    @contextmanager
    def _turns(self, group: Sequence[Trial], built: Sequence[tuple[Batch, int] | None]) -> Iterator[Turn]:
        race = _RemoteRace(self._runner, group, built, [self._other_bytes(t) for t in group], self._watchdog)
        yield race.turn
        race.clear()
        self._judge(race)

    def _judge(self, race: _RemoteRace) -> None:
        failed = [r for r in race.refused.values() if r != BY_COMPILER]
        self._succeeded = self._succeeded or len(race.refused) < race.count
        self._failed += len(failed)
        if self._failed >= HOPELESS and not self._succeeded:
            raise DeviceError(
                f"none of {self._failed} candidates runs there; the last one {failed[-1].why}",
                hint="Does --target name this device's processor?",
            )


class _RemoteRace:
    """The candidates of one problem on a device.

    Args:
        other_bytes: memory that is read before a run of each.
    """

    def __init__(
        self,
        runner: Runner,
        group: Sequence[Trial],
        built: Sequence[tuple[Batch, int] | None],
        other_bytes: Sequence[int],
        watchdog_seconds: int,
    ) -> None:
        self.count = len(group)
        self.refused = {i: BY_COMPILER for i, found in enumerate(built) if found is None}
        self._runner, self._group, self._built = runner, group, built
        self._other_bytes, self._watchdog = other_bytes, watchdog_seconds
        self._feeds = inputs(group[0].problem)
        self._loaded: dict[int, int] = {}
        self._suspects: set[int] = set()
        # So that whoever ends the program is known: each is on its own in the first turn, and after an end.
        self._one_by_one = True

    def turn(self, which: Sequence[int]) -> list[float | Refused]:
        """One run of each; begins again whenever the program was lost."""
        refused, lost = len(self.refused), 0
        while True:
            try:
                times = self._times([i for i in which if i not in self.refused])
                return [self.refused.get(i) or times[i] for i in which]
            except Ended as ended:
                self._loaded.clear()
                self._one_by_one = self._one_by_one or bool(ended.why)
                lost = 0 if len(self.refused) > refused else lost + 1
                refused = len(self.refused)
                if lost >= LOSSES:
                    raise DeviceError(f"the program there was lost {lost} times in a row", hint=AGAIN) from ended

    def clear(self) -> None:
        """Free the device's memory."""
        with suppress(Ended):
            if self._loaded:
                self._runner.ask(CLEAR)

    def _times(self, which: Sequence[int]) -> dict[int, float]:
        programs = {self._program(i).program: None for i in which}
        times: dict[int, float] = {}
        for program in programs:
            mine = [i for i in which if self._program(i).program == program]
            if len(programs) > 1:
                self._loaded.clear()
            self._runner.use(program)
            for i in mine:
                if i not in self._loaded:
                    with self._at_work([i]):
                        self._load(i)
            for part in [[i] for i in mine] if self._one_by_one else [mine]:
                with self._at_work(part):
                    times.update(zip(part, self._run(part), strict=True))
        self._one_by_one = bool(self._suspects)
        return times

    def _load(self, i: int) -> None:
        found = self._built[i]
        assert found
        content = to_bytes(self._group[i], found[1], self._feeds, self._other_bytes[i], self._watchdog)
        (number,) = struct.unpack("<I", self._runner.ask(LOAD, content, most_bytes=4, seconds=self._watchdog))
        self._loaded[i] = number

    def _run(self, which: Sequence[int]) -> Sequence[float]:
        request = struct.pack(f"<{len(which) + 1}I", self._watchdog, *(self._loaded[i] for i in which))
        seconds = self._watchdog * len(which)
        return struct.unpack(
            f"<{len(which)}d", self._runner.ask(TURN, request, most_bytes=8 * len(which), seconds=seconds)
        )

    @contextmanager
    def _at_work(self, which: Sequence[int]) -> Iterator[None]:
        """Who is at work by itself when the program ends is at fault, at the latest the second time."""
        try:
            yield
        except Ended as ended:
            if ended.why:
                if len(which) == 1 and (ended.certain or which[0] in self._suspects):
                    self.refused[which[0]] = Refused(ended.why)
                self._suspects.update(which)
            raise

    def _program(self, i: int) -> Batch:
        found = self._built[i]
        assert found
        return found[0]


TRIALS_HEADER = """#include "clock.h"

typedef struct {
    trial_function run;
    void (*prepare)(void *const *p); /* NULL: nothing to prepare */
} trial_entry;

extern const trial_entry trial_entries[];
extern const uint32_t trial_entry_count;
"""


def _table(trials: Sequence[Trial]) -> str:
    """C text of the table of trials."""
    lines, rows = ['#include "trials.h"', ""], []
    for i, trial in enumerate(trials):
        lines.append(f"void trial_{i}(void *const *p, int32_t begin, int32_t end, void *scratch);")
        prepare = "NULL"
        if trial.code.prepared_bytes:
            prepare = f"trial_{i}_prepare"
            lines.append(f"void {prepare}(void *const *p);")
        rows.append(f"    {{trial_{i}, {prepare}}},")
    end = ["};", f"const uint32_t trial_entry_count = {len(trials)};"]
    return "\n".join([*lines, "", "const trial_entry trial_entries[] = {", *rows, *end]) + "\n"
