"""What the experiments share: where they work, where results go, the networks they start from."""

from __future__ import annotations

import argparse
import copy
import fcntl
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any

import platformdirs
import torch
from networks import NETWORKS, network
from pictures import DATA, Pictures
from torch import nn
from training import Schedule, accuracy, save, train

from edgesmith.atomic import write_file
from edgesmith.frontend.torch import export

RESULTS = Path(__file__).with_name("results.json")
BASELINES = {"fashion_mnist": Schedule(12), "sign_language_digits": Schedule(60, batch=64)}


@dataclass(frozen=True)
class Experiment:
    """One run of an experiment's script.

    Attributes:
        work: the folder of checkpoints, trained weights and artifacts.
        material: the folder with the data sets.
        device: where networks are trained.
        trains_only: programs are compiled and measured by another run, on another machine.
        share: of the rows, this process computes those whose number is the first modulo the second.
    """

    work: Path
    material: Path
    data: str
    seeds: tuple[int, ...]
    networks: tuple[str, ...]
    device: torch.device
    trains_only: bool
    share: tuple[int, int]

    @cached_property
    def failed(self) -> list[str]:
        """Rows that could not be computed."""
        return []

    @cached_property
    def pictures(self) -> tuple[Pictures, Pictures]:
        """For training and for testing."""
        train_set, test_set = DATA[self.data](self.material / self.data)
        return train_set.to(self.device), test_set.to(self.device)

    @property
    def example(self) -> torch.Tensor:
        return torch.zeros(self.pictures[0].shape, device=self.device)

    def some(self, batches: int, size: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of training pictures for methods that look at data."""
        return list(islice(self.pictures[0].batches(size, seed), batches))

    def fresh(self, name: str, seed: int) -> nn.Module:
        train_set = self.pictures[0]
        return network(name, train_set.images.shape[1], int(train_set.labels.max()) + 1, seed).to(self.device)

    def trained(self, name: str, seed: int) -> nn.Module:
        """A network trained in the plain way; trained now where that has not been done."""
        module = self.fresh(name, seed)
        path = self.work / self.data / f"{name}-{seed}.pt"
        if not path.is_file():
            print(f"{name}, seed {seed} on {self.data}", flush=True)
            checkpoint = self.checkpoint(f"{name}-{seed}")
            began = time.time()
            train(module, self.pictures[0], BASELINES[self.data], seed, checkpoint=checkpoint)
            save(path, module.state_dict())
            self.record("baseline", f"{name} {seed}", {"top1": self.top1(module), **self._spent(began)})
        module.load_state_dict(torch.load(path, weights_only=True, map_location=self.device))
        return module.eval().to(memory_format=torch.channels_last)

    def checkpoint(self, name: str) -> Path:
        """The file by which a training that was interrupted goes on."""
        return self.work / self.data / f"{name}.checkpoint"

    def keep(self, name: str, module: nn.Module) -> Path:
        """Write a module as ONNX, for experiments that measure time."""
        path = self.work / self.data / f"{name}.onnx"
        export(copy.deepcopy(module).cpu().eval(), self.example.cpu(), path)
        return path

    def top1(self, module: nn.Module) -> float:
        """Percent of the test set."""
        return accuracy(module, self.pictures[1])

    def record(self, experiment: str, key: str, row: dict[str, Any]) -> None:
        """Add a row to the results, which other processes may do at the same time."""
        with _locked(self.work / "results.lock"):
            results = _read()
            results.setdefault(self.data, {}).setdefault(experiment, {})[key] = _rounded(row)
            write_file(RESULTS, (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())
        print(self.data, experiment, key, json.dumps(_rounded(row)), flush=True)

    def recorded(self, experiment: str, key: str) -> dict[str, Any] | None:
        return _read().get(self.data, {}).get(experiment, {}).get(key)

    def once(self, experiment: str, key: str, compute: Callable[[], dict[str, Any]]) -> None:
        """Record a row unless that was done before; a row that fails does not keep the others from being computed."""
        mine = next(self._numbers) % self.share[1] == self.share[0]
        if not mine or self.recorded(experiment, key) is not None:
            return
        began = time.time()
        try:
            row = compute()
        except Exception:
            print(f"{self.data} {experiment} {key} failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            self.failed.append(f"{experiment} {key}")
            return
        self.record(experiment, key, row | self._spent(began))

    def _spent(self, began: float) -> dict[str, Any]:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return {"seconds": time.time() - began, "on": name}

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()


def parsed(description: str, *, data: Iterable[str] = DATA) -> Iterator[Experiment]:
    """The experiments that the command line asks for, one for each data set; ends the script where a row failed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--material", type=Path, default=root.parent / "shared" / "material" / "datasets")
    parser.add_argument("--work", type=Path, default=Path(platformdirs.user_cache_dir("edgesmith")) / "experiments")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(data))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--train-only", action="store_true", help="compile and measure nothing")
    parser.add_argument("--share", default="0/1", help="such as 2/8: of 8 processes that divide the rows, the third")
    given = parser.parse_args()
    part, parts = (int(word) for word in given.share.split("/"))
    torch.set_num_threads(given.threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    failed: list[str] = []
    for data in given.data:
        experiment = Experiment(
            given.work,
            given.material,
            data,
            tuple(given.seeds),
            tuple(given.networks),
            given.device,
            given.train_only,
            (part, parts),
        )
        yield experiment
        failed += [f"{data} {row}" for row in experiment.failed]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
