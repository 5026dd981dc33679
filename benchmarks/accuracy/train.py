"""Train the networks of the accuracy table and write them as ONNX models into the user's cache.

    python -m benchmarks.accuracy.train [NAME ...] [--material FOLDER] [--threads N] [--fresh]

PyTorch gets a virtual environment of its own. What is trained already is kept; an interrupted training goes on after
its last epoch. NAME is the beginning of a network's name, such as lenet or mobilenet-v1-0.25.fashion.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgesmith import zoo
from edgesmith.bench import peerside
from edgesmith.bench.peers.torch import PACKAGES
from edgesmith.bench.virtualenv import python_with
from edgesmith.cli.progress import Activity, activity
from edgesmith.errors import EdgesmithError

from .data import SPLITS
from .processes import follow
from .trained import TRAINED, Trained

MATERIAL = Path("../shared/material")
LEARNER = Path(__file__).with_name("learner.py")


def train(wanted: Trained, material: Path, threads: int, show: Activity) -> dict[str, Any]:
    """Train a network unless its file is there.

    Returns:
        What was trained, with the loss and accuracy on the (varied) training pictures of the last epoch.

    Raises:
        EdgesmithError: PyTorch cannot be installed, or the training fails.
    """
    record = wanted.folder / "training.json"
    if wanted.file.is_file() and record.is_file():
        return dict(json.loads(record.read_text()))
    wanted.folder.mkdir(parents=True, exist_ok=True)
    show.say("environment of PyTorch")
    python = python_with("torch", PACKAGES)
    show.say(f"{wanted.name}: reading {wanted.data}")
    last = _learn(wanted, material, threads, python, show)
    model = _build(wanted, batch=1)
    with np.load(wanted.folder / "weights.npz") as weights:
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    onnx.checker.check_model(model, full_check=True)
    _write(wanted.file, model.SerializeToString())
    done = {"recipe": dataclasses.asdict(wanted), "last epoch": last}
    _write(record, json.dumps(done, indent=1).encode())
    for name in ("batch.onnx", "data.npz", "checkpoint.pt", "weights.npz"):
        (wanted.folder / name).unlink(missing_ok=True)
    return done


def _build(wanted: Trained, batch: int) -> onnx.ModelProto:
    size = wanted.picture.size
    return zoo.build(
        wanted.network,
        seed=wanted.seed,
        batch=batch,
        image_size=size,
        classes=wanted.classes,
        width=wanted.width,
    )


def _learn(wanted: Trained, material: Path, threads: int, python: Path, show: Activity) -> dict[str, Any]:
    folder = wanted.folder
    data = SPLITS[wanted.data](material).train
    np.savez(folder / "data.npz", pictures=data.pictures, labels=data.labels)
    onnx.save(_build(wanted, wanted.batch), folder / "batch.onnx")
    task = {
        **{key: getattr(wanted, key) for key in ("epochs", "rate", "decay", "reach", "seed")},
        "picture": dataclasses.asdict(wanted.picture),
        "threads": threads,
        "model": str(folder / "batch.onnx"),
        "data": str(folder / "data.npz"),
        "checkpoint": str(folder / "checkpoint.pt"),
        "weights": str(folder / "weights.npz"),
    }
    _write(folder / "task.json", json.dumps(task, indent=1).encode())
    last: dict[str, Any] = {}

    def heard(line: dict[str, Any]) -> None:
        nonlocal last
        last = line
        text = f"{wanted.name}: epoch {line['epoch']}, loss {line['loss']:.3f}, accuracy {line['accuracy']:.1%}"
        show.pieces(text, line["done"], line["total"])
        if line["done"] * wanted.epochs == line["total"] * line["epoch"]:
            show.print(text)

    command = [str(python), str(LEARNER), str(folder / "task.json")]
    follow(command, folder / "log.txt", heard, {"PYTHONPATH": os.pathsep.join(peerside.__path__)})
    return last


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)


def chosen(beginnings: list[str]) -> list[Trained]:
    """The networks whose names begin so; all when nothing is said.

    Raises:
        EdgesmithError: none does.
    """
    for beginning in beginnings:
        if not any(t.name.startswith(beginning) for t in TRAINED):
            raise EdgesmithError("no such network", where=beginning, hint=", ".join(t.name for t in TRAINED))
    return [t for t in TRAINED if not beginnings or t.name.startswith(tuple(beginnings))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NAME", help="beginnings of names (default: all)")
    parser.add_argument("--material", type=Path, default=MATERIAL)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="train again")
    options = parser.parse_args()
    try:
        networks = chosen(options.networks)
        with activity() as show:
            for i, wanted in enumerate(networks):
                show.whole("networks", i, len(networks))
                if options.fresh:
                    shutil.rmtree(wanted.folder, ignore_errors=True)
                train(wanted, options.material, options.threads, show)
                show.print(f"{wanted.file}")
            show.whole("networks", len(networks), len(networks))
    except EdgesmithError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
