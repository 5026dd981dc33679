"""Candidates of a search in processes of this machine or of many, by Ray.

P. Moritz, R. Nishihara, S. Wang, A. Tumanov, R. Liaw, E. Liang, M. Elibol, Z. Yang, W. Paul, M. I. Jordan and
I. Stoica, "Ray: a distributed framework for emerging AI applications", OSDI 2018, arXiv:1712.05889.
"""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from types import ModuleType, TracebackType
from typing import Any

import torch

from edgesmith.errors import BadInput, DeviceError, MissingDependency

__all__ = ["RayWorkers", "gpus_each", "installed_ray"]

_HERE = "local"
_ANSWERING = 10.0
"""Seconds that a machine has for answering."""
_ENDING = 10.0
"""Seconds that tasks have for being ended."""


class RayWorkers:
    """``parallel`` of searches: each candidate is a task of Ray, and results come as they arrive.

    Used as a context, or closed by ``close``, which ends the cluster where this started it. What the problem's
    functions hold (data, modules) is pickled and stored once for a search, not for every task. What workers print is
    in Ray's logs.

    Args:
        workers: tasks at a time (default: as many as the cluster has room for).
        num_cpus: processors of one task; PyTorch uses as many threads there, unless ``OMP_NUM_THREADS`` says otherwise.
        num_gpus: GPUs of one task, or a part of one.
        address: of a running cluster, such as ``auto`` or ``head:6379`` (default: what ``RAY_ADDRESS`` says, else
            ``local``: one that is started on this machine); a process that is connected stays so. All of its machines
            need this package.
        by_value: modules whose classes and functions are sent along; others must be found in a worker, too, where
            this process finds them or where its Python does.

    Raises:
        MissingDependency: Ray (extra ``ray``) is not installed.
        BadInput: a number is none, no cluster is at the address, or this machine has fewer processors or GPUs than a
            task needs.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        address: str | None = None,
        by_value: Sequence[ModuleType] = (),
    ) -> None:
        asked = (
            ("workers", 1 if workers is None else workers, 1),
            ("num_cpus", num_cpus, 0),
            ("num_gpus", num_gpus, 0),
        )
        for name, number, least in asked:
            if number < least:
                raise BadInput(f"{name}={number} is below {least}", where="RayWorkers")
        self._ray = installed_ray()
        self._workers = workers
        address = address or os.environ.get("RAY_ADDRESS") or _HERE
        self._connected = not self._ray.is_initialized()
        if self._connected:
            _connect(self._ray, address)
        self._registered: list[ModuleType] = []
        try:
            if self._connected and address == _HERE:
                self._check_room({"CPU": num_cpus, "GPU": num_gpus})
            for module in by_value:
                self._ray.cloudpickle.register_pickle_by_value(module)
                self._registered.append(module)
        except BaseException:
            self.close()
            raise
        self._task = self._ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(_called)
        self._stored: list[tuple[Any, Any]] = []

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Generator[Any, None, None]:
        """Results of the function with each item, in the order in which they arrive.

        What the function raises is raised here; then, and when the generator is closed, the other tasks are ended.

        Raises:
            BadInput: the function, or what it holds, cannot be pickled, or a worker lacks a module for it.
            DeviceError: a worker died, and so did the ones that tried again.
        """
        bare, bound = (function.func, function.args) if isinstance(function, functools.partial) else (function, ())
        waiting = deque(items)
        running: list[Any] = []
        try:
            stored = self._store([bare, *bound])
            while waiting or running:
                while waiting and (self._workers is None or len(running) < self._workers):
                    running.append(self._task.remote(_places(), self._pickled(waiting.popleft()), *stored))
                done, running = self._ray.wait(running, num_returns=1)
                yield self._result(done[0])
        finally:
            for task in running:
                self._ray.cancel(task, force=True)
            if running:
                self._ray.wait(running, num_returns=len(running), timeout=_ENDING)

    def close(self) -> None:
        """End the connection, and the cluster, where this made them."""
        for module in self._registered:
            self._ray.cloudpickle.unregister_pickle_by_value(module)
        self._registered = []
        self._stored = []
        if self._connected:
            self._ray.shutdown()
            self._connected = False

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _store(self, objects: Sequence[Any]) -> list[Any]:
        """References to what tasks share; what the call before shared, too, is there already."""
        found = []
        for thing in objects:
            reference = next((r for known, r in self._stored if known is thing), None)
            if reference is None:
                reference = self._ray.put(self._pickled(thing))
            found.append(reference)
        self._stored = list(zip(objects, found, strict=True))
        return found

    def _pickled(self, thing: Any) -> bytes:
        try:
            return bytes(self._ray.cloudpickle.dumps(thing))
        except Exception as error:  # whatever the pickling of one's own classes raises
            hint = "let the problem's functions hold no open files, locks, generators or displays"
            why = f"{_title(thing)} cannot be sent to workers: {_first_line(error)}"
            raise BadInput(why, where="RayWorkers", hint=hint) from error

    def _result(self, task: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, BaseException):
                raise error.cause from error
            raise
        except errors.RayError as error:
            hint = "give tasks more memory (fewer workers, more num_cpus each), or see Ray's logs"
            raise DeviceError(f"a worker failed: {_first_line(error)}", where="RayWorkers", hint=hint) from error

    def _check_room(self, needed: dict[str, float]) -> None:
        """Whether the cluster of this machine alone can ever run a task."""
        there = self._ray.cluster_resources()
        for what, count in needed.items():
            if count > there.get(what, 0):
                why = f"a task needs {count:g} {what}s; this machine has {there.get(what, 0):g}"
                hint = f"lower num_{what.lower()}s, or name the address of a cluster"
                raise BadInput(why, where="RayWorkers", hint=hint)


def _called(places: Sequence[str], item: bytes, function: bytes, *bound: bytes) -> Any:
    """In a worker: unpickle with this process's search path, and call."""
    sys.path += [place for place in places if place not in sys.path]
    try:
        given, call, *arguments = (pickle.loads(data) for data in (item, function, *bound))
    except ImportError as error:
        hint = "install or copy it there, or give the module in by_value=[...]"
        raise BadInput(f"a worker cannot import what it needs: {error}", where="RayWorkers", hint=hint) from error
    return call(*arguments, given)


def _places() -> list[str]:
    return [os.path.abspath(place) for place in sys.path]


def installed_ray() -> Any:
    """The package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        hint = "pip install edgesmith[ray]"
        raise MissingDependency("Ray is not installed", where="RayWorkers", hint=hint) from error


def gpus_each(tasks: int, device: str) -> float:
    """The part of a GPU, or the GPUs, that each of so many tasks has on this machine; 0 where the device is none."""
    if not device.startswith("cuda"):
        return 0.0
    return min(torch.cuda.device_count() / tasks, 1.0)


def _connect(ray: Any, address: str) -> None:
    try:
        _reach(address)  # Ray itself tries for minutes
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error
    on_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error
    finally:
        if on_main:  # which Ray replaces
            signal.signal(signal.SIGTERM, before)


def _reach(address: str) -> None:
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERING).close()


def _no_cluster(address: str, error: Exception) -> BadInput:
    hint = "start one by 'ray start --head', or leave the address out"
    return BadInput(f"no cluster of Ray: {_first_line(error)}", where=f"RayWorkers {address}", hint=hint)


def _title(thing: Any) -> str:
    return f"what {getattr(thing, '__name__', type(thing).__name__)} holds"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
