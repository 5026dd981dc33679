"""Timing on a device, and what may go wrong there. The device is this machine; connections are cut on purpose."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesmith import api, knobs
from edgesmith.deploy import Workplace, connect
from edgesmith.deploy.transports.local import Local
from edgesmith.device.channel import Channel, Lost
from edgesmith.errors import BadInput, DeviceError, Unreachable
from edgesmith.plan import make_plan
from edgesmith.target import parse, profiles, this_processor
from edgesmith.toolchain import zig
from edgesmith.tune import Database, remote
from edgesmith.tune.described import processor_there
from edgesmith.tune.operands import BLOCK, HEAD, POINTER, to_bytes
from edgesmith.tune.remote import Batch, RemoteTimer
from edgesmith.tune.timer import Outcome, Refused, Times, inputs
from edgesmith.tune.trial import Trial
from foreign import missing_emulator
from small_networks import residual_network

from .networks import graph_of

pytestmark = pytest.mark.toolchain

HERE = parse("native")
FAULTS = {
    "crash": "{ (void)begin; (void)end; (void)p; (void)scratch; __builtin_trap(); }",
    "hang": "{ (void)begin; (void)end; (void)p; (void)scratch; for (volatile int i = 1; i;) {} }",
}


def faulty(trial: Trial, how: str) -> Trial:
    """A trial whose kernel crashes or hangs."""
    other = Trial(trial.problem, trial.kernel, trial.schedule)
    signature = "void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch)"
    other.__dict__["code"] = replace(trial.code, text=f"{signature}\n{FAULTS[how]}\n", prepared_bytes=0, functions=())
    return other


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """Of three problems; then one that crashes and one that hangs."""
    steps = make_plan(graph_of(residual_network()), HERE).steps[:3]
    good = [Trial(s.problem, s.kernel, s.schedule) for s in steps]
    return [*good, faulty(good[0], "crash"), faulty(good[0], "hang")]


@pytest.fixture(scope="module")
def program(trials: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with all of them."""
    with Workplace(Local("")) as place, RemoteTimer(HERE, zig(), this_processor(), place) as timer:
        made = timer._build(trials).program
        return made.rename(tmp_path_factory.mktemp("trials") / made.name)


class Built(RemoteTimer):
    """A timer whose program is there already."""

    program: Path
    all: Sequence[Trial]

    def _compiled(self, trials: Sequence[Trial]) -> list[tuple[Batch, int] | None]:
        batch = Batch(self.program)
        return [(batch, self.all.index(t)) for t in trials]


@pytest.fixture
def measure(
    trials: list[Trial], program: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Local, Sequence[Sequence[int]]], list[list[Outcome]]]:
    """Times the trials of given numbers on a device."""
    monkeypatch.setattr(remote, "FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(Built, "program", program, raising=False)
    monkeypatch.setattr(Built, "all", trials, raising=False)

    def run(device: Local, groups: Sequence[Sequence[int]]) -> list[list[Outcome]]:
        with (
            Workplace(device) as place,
            Built(
                HERE, zig(), this_processor(), place, notify=device.__dict__.get("hear", print), watchdog_seconds=1
            ) as t,
        ):
            return list(t.time([[trials[i] for i in group] for group in groups]))

    return run


def test_candidates_race_there(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (first, second), (third,) = measure(Local("", str(tmp_path)), [[0, 0], [1]])
    for times in (first, second, third):
        assert isinstance(times, Times) and len(times.runs) >= 2 and 0 < times.least <= times.median
    assert not list(tmp_path.iterdir())


def test_one_that_crashes_and_one_that_hangs_are_left_out(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    good, crash, hang, again = measure(Local("", str(tmp_path)), [[0, 3, 4, 0]])[0]
    assert isinstance(good, Times) and isinstance(again, Times)
    assert crash in (Refused("crashes with SIGILL"), Refused("crashes with SIGTRAP")) and hang == Refused("hangs")


class CutChannel(Channel):
    """A connection that is cut at one of its requests."""

    device: Cut

    def ask(self, *args, **options) -> bytes:  # type: ignore[no-untyped-def]
        if self.device.counts():
            self.device.cut(self)
            raise Lost("the connection was lost", where=self.name, status=255)
        return super().ask(*args, **options)


class Cut(Local):
    """A device whose connection is cut at its nth operation: a command, a file, the start of a program, or a request.

    Args:
        cut: what becomes of a running program then.
    """

    def __init__(self, folder: Path, at: int, cut: Callable[[Channel], None] = Channel.close) -> None:
        super().__init__("", str(folder))
        self.at, self.operations, self.cut = at, 0, cut
        self.heard: list[str] = []
        self.hear = self.heard.append

    def counts(self) -> bool:
        self.operations += 1
        return self.operations == self.at

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        if self.counts():
            if stdin:
                super().shell(script.replace("cat >", "head -c 1000 >"), stdin=stdin)
            raise Unreachable("the connection was lost", where=self.name)
        return super().shell(script, stdin=stdin)

    def serve(self, program: str, arguments: Sequence[str], service: int, seconds: float) -> Channel:
        if self.counts():
            raise Unreachable("the connection was lost", where=self.name)
        words = self.command(f"{self.started(program, arguments)}; exit $?")
        channel = CutChannel(words, self.name, service, seconds)
        channel.device = self
        return channel


def test_a_connection_cut_anywhere_is_taken_up_again(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    device = Cut(tmp_path, 0)
    measure(device, [[0, 1], [2]])
    last = device.operations
    for at in [*range(1, 15), last - 2, last - 1]:
        device = Cut(tmp_path, at)
        outcomes = [o for group in measure(device, [[0, 1], [2]]) for o in group]
        assert all(isinstance(o, Times) for o in outcomes), at
        assert device.heard[0] == "" or "the connection was lost; trying again" in device.heard[0]
        assert not list(tmp_path.iterdir())


def test_a_device_that_starts_anew(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Its programs and its temporary files are gone."""

    def start_anew(channel: Channel) -> None:
        os.killpg(channel._process.pid, signal.SIGKILL)
        subprocess.run(f"rm -r {tmp_path}/edgesmith-*", shell=True, check=True)

    device = Cut(tmp_path, 12, start_anew)
    assert all(isinstance(o, Times) for o in measure(device, [[0, 1]])[0])
    assert device.operations > 12


def test_a_runner_that_somebody_kills(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Once is nobody's fault; twice, with the same candidate at work, is that candidate's."""

    class Killed(Cut):
        def serve(self, program: str, arguments: Sequence[str], service: int, seconds: float) -> Channel:
            channel = super().serve(program, arguments, service, seconds)
            if self.at > 0:
                self.at -= 1
                os.killpg(channel._process.pid, signal.SIGKILL)
            return channel

    assert all(isinstance(o, Times) for o in measure(Killed(tmp_path, 1), [[0, 1]])[0])
    first, second = measure(Killed(tmp_path, 2), [[0, 1]])[0]
    assert first == Refused("crashes with SIGKILL") and isinstance(second, Times)


def test_a_device_that_stays_away_or_refuses(measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    class Away(Cut):
        def counts(self) -> bool:
            self.operations += 1
            return self.operations > 10

    class Full(Cut):
        def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
            done = super().shell(script)
            return subprocess.CompletedProcess([], 1, "", "cat: No space left on device") if stdin else done

    monkeypatch.setattr(remote, "LONGEST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.01)
    away = Away(tmp_path, 0)
    with pytest.raises(DeviceError, match=r"(?s)connection was lost.*What was measured is kept"):
        measure(away, [[0, 1]])
    assert len(away.heard) >= 5
    with pytest.raises(DeviceError, match=r"(?s)No space left.*What was measured is kept"):
        measure(Full(tmp_path, 0), [[0]])


def test_a_connection_that_never_lasts(measure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    class Short(Cut):
        def serve(self, program: str, arguments: Sequence[str], service: int, seconds: float) -> Channel:
            self.at = self.operations + 3  # the second request
            return super().serve(program, arguments, service, seconds)

    with pytest.raises(DeviceError, match=r"(?s)was lost 20 times in a row.*What was measured is kept"):
        measure(Short(tmp_path, 0), [[0, 1]])
    assert not list(tmp_path.iterdir())


def test_when_nothing_runs_something_else_is_wrong(measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(remote, "HOPELESS", 2)
    with pytest.raises(DeviceError, match=r"none of 2 candidates runs there; the last one crashes"):
        measure(Local("", str(tmp_path)), [[3], [3]])


def running(program: Path) -> list[str]:
    """Processes of a program."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if program.name in (process / "cmdline").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_an_interruption_leaves_nothing(measure, program: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def interrupt(channel: Channel) -> None:
        assert running(program)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Cut(tmp_path, 14, interrupt), [[0, 1]])
    assert not running(program) and not list(tmp_path.iterdir())


def test_operands_of_integers_are_sent_and_floats_are_not() -> None:
    model = api.quantize(residual_network(), "none", samples=1).model
    graph = graph_of(model)
    for step in make_plan(graph, HERE).steps:
        trial = Trial(step.problem, step.kernel, step.schedule)
        content = to_bytes(trial, 3, inputs(step.problem), 1 << 20, 5)
        number, tasks, seconds, blocks, pointers, fixed, scratch_bytes, other_bytes = HEAD.unpack_from(content)
        assert (number, tasks, seconds, other_bytes) == (3, trial.code.tasks, 5, 1 << 20)
        assert scratch_bytes == trial.code.scratch_bytes
        sizes = [BLOCK.unpack_from(content, HEAD.size + i * BLOCK.size) for i in range(blocks)]
        sent = sum(nbytes for nbytes, kind, _ in sizes if kind == 2)
        assert len(content) == HEAD.size + blocks * BLOCK.size + pointers * POINTER.size + sent
        integers = sum(c.nbytes for c in trial.code.constants if c.dtype != np.float32)
        assert sent >= integers and fixed == len(trial.code.constants) + bool(trial.code.prepared_bytes)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "times.sqlite"
    monkeypatch.setenv(knobs.TUNING_DB.name, str(path))
    return path


def test_tuning_over_ssh(server: int, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesmith.tune.search.BATCH_TRIALS", 4)
    monkeypatch.setattr("edgesmith.tune.search.is_available", lambda: False)
    there = tmp_path / "there"
    there.mkdir()
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{server}{there}"
    tuned = api.tune(residual_network(), budget_seconds=1, only=["gemm", "portable"], on=address)
    assert tuned.status.measured > 0 and not list(there.iterdir())
    with Database(database) as kept:
        ((environment, problems, records),) = kept.environments()
    assert problems > 0 and records == tuned.status.measured
    assert environment.processor.resembles(this_processor()) and environment.target == str(HERE)


def test_times_on_an_emulator_are_refused(database: Path) -> None:
    if missing := missing_emulator("neon"):
        pytest.skip(missing)
    with pytest.raises(BadInput, match=r"qemu-aarch64.* is an emulator: times on it say nothing"):
        api.tune(residual_network(), target="aarch64-linux-gnu", on="qemu:cortex-a72")
    assert not database.exists()


def test_an_emulated_runner_works(tmp_path: Path) -> None:
    """All of it but the meaning of the times."""
    if missing := missing_emulator("neon"):
        pytest.skip(missing)
    target = parse("aarch64-linux-gnu")
    step = make_plan(graph_of(residual_network()), target).steps[0]
    good = Trial(step.problem, step.kernel, step.schedule)
    with (
        connect("qemu:cortex-a72", target) as device,
        Workplace(device) as place,
        RemoteTimer(target, zig(), this_processor(), place) as timer,
    ):
        ((times, crash),) = timer.time([[good, faulty(good, "crash")]])
    assert isinstance(times, Times) and isinstance(crash, Refused) and "crashes with" in crash.why


PI_4 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.1
"""
RK3399 = "\n".join(
    f"processor\t: {i}\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: {'0xd03' if i < 4 else '0xd08'}\n"
    for i in range(6)
)


class Described(Local):
    """A device that tells what it is."""

    def __init__(self, cpuinfo: str, facts: dict[str, str]) -> None:
        super().__init__("")
        self.answers = {"uname": "aarch64\n", "cat": cpuinfo, "grep": "".join(f"{k}:{v}\n" for k, v in facts.items())}

    def run(self, script: str, *, stdin: Path | None = None) -> str:
        return self.answers[script.split()[0]]


def test_processors_of_devices() -> None:
    """What the system does not tell is the profile's; of several kinds of cores the fastest counts."""
    found, cpu = processor_there(Described(PI_4, {}), parse("raspberry-pi-4"))
    assert (found.name, found.l2_bytes, cpu) == ("Raspberry Pi 4 Model B Rev 1.1", 1 << 20, 0)
    assert found.resembles(profiles()["raspberry-pi-4"].processor)
    system = "/sys/devices/system/cpu"
    facts = {f"{system}/cpu{i}/cpufreq/cpuinfo_max_freq": "1416000" if i < 4 else "1800000" for i in range(6)}
    facts |= {
        f"{system}/cpu4/cache/index2/{k}": v for k, v in {"type": "Unified", "level": "2", "size": "1024K"}.items()
    }
    found, cpu = processor_there(Described(RK3399, facts), parse("rk3399"))
    assert (cpu, found.family, found.l2_bytes) == (4, "0xd08", 1 << 20)
    with pytest.raises(DeviceError, match="its processor lacks dotprod, fp16"):
        processor_there(Described(PI_4, {}), parse("raspberry-pi-5"))
