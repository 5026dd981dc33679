"""Candidates as tasks of Ray, on this machine."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from compress.search.test_parallel import CHANNELS, SETTINGS, WEIGHTS, found, made, refusing, same_outcome
from compress.search.toy import Toy
from edgesmith.compress.search import RayWorkers, search
from edgesmith.errors import BadInput, BudgetMissed, DeviceError, MissingDependency

pytestmark = pytest.mark.torch

ALONE = """
import os, sys, time
from edgesmith.compress.search import RayWorkers
from edgesmith.errors import BadInput

def told(**options):
    try:
        RayWorkers(**options)
    except BadInput as error:
        print(error.where, error.why, flush=True)

folder = sys.argv[1]

def waiting(item):
    open(os.path.join(folder, f"{os.getpid()}"), "w").close()
    if item:
        time.sleep(600)

told(address="127.0.0.1:1")
told(num_gpus=1000)
with RayWorkers(num_cpus=0.25) as workers:
    for _ in workers(waiting, range(3)):
        print("started", flush=True)
"""
"""A process with a cluster of its own: what it is refused, then tasks that last until it is interrupted."""


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install edgesmith\[ray\]"):
        RayWorkers()


def test_numbers_that_are_none_are_refused() -> None:
    wrong: list[dict[str, Any]] = [{"workers": 0}, {"num_cpus": -1}, {"num_gpus": -0.5}]
    for options in wrong:
        with pytest.raises(BadInput, match=f"{next(iter(options))}=.* is below"):
            RayWorkers(**options)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="warning")
    yield ray
    ray.shutdown()


@pytest.mark.parametrize("method", SETTINGS)
def test_tasks_find_what_one_after_another_finds(method: str, ray: Any) -> None:
    expected = found(method, made(Toy(CHANNELS, WEIGHTS)))
    here = Toy(CHANNELS, WEIGHTS)
    with RayWorkers() as workers:
        same_outcome(found(method, made(here), parallel=workers), expected)
    assert here.evaluated <= 2, "the rest was evaluated in tasks"
    assert ray.is_initialized(), "a cluster that was there stays"


def test_results_come_as_they_arrive(ray: Any, tmp_path: Path) -> None:
    def waiting(item: int) -> int:
        while item == 0 and not (tmp_path / "1").exists():
            time.sleep(0.01)
        return item

    for result in RayWorkers()(waiting, range(2)):
        (tmp_path / str(result)).touch()
        assert (tmp_path / "1").exists(), "0 waits for 1"


def test_no_more_tasks_run_than_workers(ray: Any, tmp_path: Path) -> None:
    def counting(item: int) -> int:
        running = tmp_path / str(item)
        running.touch()
        time.sleep(0.05)
        count = len(list(tmp_path.iterdir()))
        running.unlink()
        return count

    assert set(RayWorkers(1, num_cpus=0.25)(counting, range(4))) == {1}


def test_what_tasks_share_is_sent_once(ray: Any) -> None:
    pickled = []

    class Data:
        def __reduce__(self) -> tuple[Any, ...]:
            pickled.append(1)
            return (dict, ())

    data = Data()

    def finetune(module: nn.Module) -> None:
        assert data == {}

    problem = dataclasses.replace(Toy(CHANNELS, WEIGHTS).problem(), finetune=finetune)
    with RayWorkers() as workers:
        shapes = search(problem, "evolution", parallel=workers, population=4, generations=0)
    assert shapes.trials >= 4 and len(pickled) == 1


def test_an_error_of_a_candidate_is_told_as_it_is(ray: Any) -> None:
    toy = Toy(CHANNELS, WEIGHTS)

    def evaluate(module: nn.Module) -> float:
        return refusing(module, toy.evaluate, 55)

    with pytest.raises(BudgetMissed, match=r"g1: \d+ channels") as caught:
        found("netadapt", dataclasses.replace(made(toy), evaluate=evaluate), parallel=RayWorkers())
    assert type(caught.value) is BudgetMissed and caught.value.hint == "more"


def test_what_cannot_be_sent_is_named(ray: Any) -> None:
    lock = threading.Lock()

    def evaluate(module: nn.Module) -> float:
        with lock:
            return 0.0

    with pytest.raises(BadInput, match=r"cannot be sent to workers: .*lock(?s:.)*hold no open files"):
        found("netadapt", dataclasses.replace(made(Toy(CHANNELS, WEIGHTS)), evaluate=evaluate), parallel=RayWorkers())


def test_a_worker_that_dies_is_told(ray: Any) -> None:
    with pytest.raises(DeviceError, match="a worker failed"):
        list(RayWorkers()(os._exit, [1]))


def test_modules_that_workers_cannot_import_are_sent_along(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = types.ModuleType("_only_here")
    exec("def double(item):\n    return 2 * item", vars(own))
    monkeypatch.setitem(sys.modules, own.__name__, own)
    with RayWorkers(by_value=[own]) as workers:
        assert sorted(workers(own.double, range(3))) == [0, 2, 4]
    with pytest.raises(BadInput, match=r"cannot import(?s:.)*_only_here(?s:.)*by_value"):
        list(RayWorkers()(own.double, range(1)))


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    program = tmp_path / "alone.py"
    program.write_text(ALONE)
    noted = tmp_path / "processes"
    noted.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, str(program), str(noted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout
    try:
        assert process.stdout.readline().startswith("RayWorkers 127.0.0.1:1 no cluster of Ray")
        assert "a task needs 1000 GPUs; this machine has" in process.stdout.readline()
        assert process.stdout.readline() == "started\n"
        while len(list(noted.iterdir())) < 3:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
    for file in noted.iterdir():
        wait_for_end(int(file.name))


def wait_for_end(process: int) -> None:
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.1)
    pytest.fail(f"process {process} still runs")
