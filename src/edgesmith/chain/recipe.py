"""Recipes: what ``edgesmith optimize`` reads."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

from edgesmith.chain.budget import Budget
from edgesmith.chain.schema import Source, checked, unknown
from edgesmith.chain.stage import STAGES, Stage
from edgesmith.errors import BadInput, next_step

__all__ = ["Compare", "DataSpec", "ModelSpec", "OptimizeRecipe", "TargetSpec", "load", "model_spec"]

ZOO = "zoo:"
TABLES = ("model", "data", "target", "budget", "stage", "compare", "output")


@dataclass(frozen=True)
class ModelSpec:
    """Where a module comes from.

    Args:
        network: ``zoo:NAME``, or ``file.py:function``, which is called with ``options`` and gives an ``nn.Module``.
        checkpoint: a state dict that ``torch.save`` wrote; none: the network is trained from its first weights.
        options: every other key of the table: width, depth, classes, image_size, ...
    """

    network: str
    checkpoint: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        extra = " ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.network} {extra}".strip()


@dataclass(frozen=True)
class DataSpec:
    """Labelled pictures.

    Args:
        train, test: a folder with a folder for each class, a ``.npz`` file with ``x`` and ``y``, or a list of two IDX
            files: pictures and labels.
        size: height and width to which pictures are scaled; needed for folders.
        channels: of pictures from folders.
        mean, std: that a checkpoint was trained with, of pixels from 0 to 1 (arrays of floats: of their values), for
            each channel or for all (default: those of the training pictures).
        validation: share of the training pictures that is held out, by which searches decide; test pictures decide
            nothing.
        limit: most training pictures; 0: all.
        test_limit: most test pictures; 0: all.
        calibration: pictures for quantisation, of the training set.
        augment: ``flip``, ``shift`` or ``shift N``, ``erase``.
        batch: pictures in a training batch.
    """

    train: str | tuple[str, ...]
    test: str | tuple[str, ...]
    size: tuple[int, ...] = ()
    channels: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    validation: float = 0.1
    limit: int = 0
    test_limit: int = 0
    calibration: int = 256
    augment: tuple[str, ...] = ()
    batch: int = 128

    def __post_init__(self) -> None:
        for holds, where, why in (
            (len(self.size) in (0, 2), "size", "needs height and width"),
            (0 < self.validation < 1, "validation", "must be between 0 and 1"),
            (all(n >= 1 for n in self.size), "size", "must be 1 or more pixels"),
            (self.channels in (1, 3), "channels", "is neither 1 nor 3"),
            (len(self.mean) == len(self.std), "mean", "and std need one another, a number for each channel or for all"),
            (all(0 < s < inf for s in self.std), "std", "must be above 0"),
            (all(map(isfinite, self.mean)), "mean", "must be finite"),
            (self.limit >= 0, "limit", "must not be below 0"),
            (self.test_limit >= 0, "test_limit", "must not be below 0"),
            (self.batch >= 1, "batch", "must be 1 or more"),
            (self.calibration >= 1, "calibration", "must be 1 or more"),
        ):
            if not holds:
                raise BadInput(f"{getattr(self, where)!r} {why}", where=where)
        for name in ("train", "test"):
            files = getattr(self, name)
            if isinstance(files, tuple) and len(files) != 2:
                raise BadInput(f"{len(files)} files in a list", where=name, hint="two IDX files: pictures, labels")
        for change in self.augment:
            if not re.fullmatch(r"flip|erase|shift( \d+)?", change):
                raise BadInput(f"{change!r} is none of flip, shift, shift N, erase", where="augment")


@dataclass(frozen=True)
class TargetSpec:
    """What the program is for.

    Args:
        name: as of ``edgesmith compile --target``.
        threads: that share a run.
        on: address of the device where programs are timed.
        tune: ``off``, ``cached`` or ``full``; of the final program and of all that are compared.
        tune_seconds: with ``full``: most seconds for measuring one program.
    """

    name: str = "native"
    threads: int = 1
    on: str = ""
    tune: str = "cached"
    tune_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.tune not in ("off", "cached", "full"):
            raise BadInput(f"{self.tune!r} is not one of off, cached, full", where="tune")
        if self.threads < 1:
            raise BadInput(f"{self.threads} must be 1 or more", where="threads")


@dataclass(frozen=True)
class Compare:
    """The stock models beside which the outcome is put.

    Args:
        stock: such as ``"zoo:mobilenet-v2 width=0.5"``; options that are not named are the model's. The one whose
            measured time is nearest to the outcome's is trained for as many epochs as all stages together.
        epochs: for which it is trained instead, those of ``qat`` included; needed where the model has a checkpoint.
    """

    stock: tuple[str, ...] = ()
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise BadInput(f"{self.epochs} must not be below 0", where="epochs")


@dataclass(frozen=True)
class OptimizeRecipe:
    """A recipe, checked as far as can be without reading data.

    Args:
        folder: where relative paths start.
        output: folder of stages, artifact and report.
        seed: of weights, order and searches.
    """

    name: str
    folder: Path
    output: Path
    seed: int
    model: ModelSpec
    data: DataSpec
    target: TargetSpec
    budget: Budget
    stages: tuple[Stage, ...]
    compare: Compare

    def __post_init__(self) -> None:
        if not self.budget.has_costs:
            for i, stage in enumerate(self.stages, 1):
                if stage.needs_budget or stage.if_needed:
                    why = f"there is no limit that stage {i} {stage.method} could refer to"
                    raise BadInput(why, where="[budget]", hint="latency_ms, size_kb or macs")
        if self.stock_models:
            if self.model.checkpoint and not self.compare.epochs:
                why = "the checkpoint does not say for how many epochs it was trained"
                raise BadInput(why, where="[compare]", hint="epochs = ..., for which the stock model is trained")
            planned = self.compare.epochs or sum(s.planned_epochs for s in self.stages)
            if planned <= sum(s.planned_epochs for s in self.stages if s.gives_onnx):
                raise BadInput("no epochs are left for the stock model", where="[compare]", hint="set epochs")

    def path(self, text: str) -> Path:
        """A path of the recipe: ``$NAME`` is an environment variable, relative ones start at the recipe.

        Raises:
            BadInput: there is no such variable.
        """
        for name in re.findall(r"\$\{?(\w+)\}?", text):
            if name not in os.environ:
                raise BadInput(f"there is no environment variable {name}", where=text, hint=f"export {name}=...")
        return self.folder / Path(os.path.expandvars(text)).expanduser()

    @property
    def stock_models(self) -> tuple[ModelSpec, ...]:
        """Those of ``compare``, untrained."""
        return tuple(replace(model_spec(text, self.model), checkpoint="") for text in self.compare.stock)

    @property
    def precision(self) -> str:
        """What the final program computes in, as far as the stages say."""
        found = [s.precision for s in self.stages if s.precision]
        return found[-1] if found else "f32"


@dataclass(frozen=True)
class _Output:
    folder: str = ""
    seed: int = 0


def load(path: str | Path, output: str | Path | None = None) -> OptimizeRecipe:
    """Read a recipe.

    Args:
        output: folder of the results (default: the recipe's, else ``NAME.optimized`` beside the recipe).

    Raises:
        BadInput: the file cannot be read, is no TOML, or says what no recipe says; the message names the line.
    """
    file = Path(path)
    try:
        text = file.read_text()
        tables = tomllib.loads(text)
    except OSError as error:
        write = f"check the path, or write a starter recipe there: edgesmith optimize --init {file}"
        hint = write if isinstance(error, FileNotFoundError) else next_step(error)
        raise BadInput(f"cannot be read: {error.strerror}", where=str(file), hint=hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"is no TOML: {error}", where=str(file)) from error
    source = Source(file.name, text)
    for key, value in tables.items():
        if key not in TABLES:
            line = source.where(key) if isinstance(value, dict | list) else source.where("", key)
            raise unknown(key, TABLES, line, "table of a recipe")
    for key in ("model", "data", "stage"):
        if key not in tables:
            raise BadInput(f"there is no [{key}]" if key != "stage" else "there is no [[stage]]", where=file.name)
    made = checked(_Output, tables.get("output", {}), source, "output")
    where = Path(output) if output else file.parent / (made.folder or f"{file.stem}.optimized")
    return OptimizeRecipe(
        file.stem,
        file.parent,
        where,
        made.seed,
        _model(tables["model"], source),
        checked(DataSpec, tables["data"], source, "data"),
        checked(TargetSpec, tables.get("target", {}), source, "target"),
        checked(Budget, tables.get("budget", {}), source, "budget"),
        _stages(tables["stage"], source),
        checked(Compare, tables.get("compare", {}), source, "compare"),
    )


def model_spec(text: str, like: ModelSpec | None = None) -> ModelSpec:
    """A model in one line: ``zoo:mobilenet-v2 width=0.5 checkpoint=weights.pt``.

    Args:
        like: gives the options that the line does not.

    Raises:
        BadInput: a word is no ``key=value``.
    """
    network, *words = text.split()
    options = dict(like.options) if like else {}
    checkpoint = ""
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadInput(f"{word!r} is no key=value", where=text, hint="such as zoo:mobilenet-v2 width=0.5")
        if key == "checkpoint":
            checkpoint = value
        else:
            options[key] = _value(value)
    return ModelSpec(_network(network, text), checkpoint, options)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _model(table: Any, source: Source) -> ModelSpec:
    if not isinstance(table, dict) or not isinstance(table.get("network"), str):
        raise BadInput('[model] needs network = "zoo:NAME" or "file.py:function"', where=source.where("model"))
    network = _network(table["network"], source.where("model", "network"))
    checkpoint = table.get("checkpoint", "")
    if not isinstance(checkpoint, str):
        raise BadInput(f"checkpoint is {checkpoint!r}, not a path", where=source.where("model", "checkpoint"))
    return ModelSpec(network, checkpoint, {k: v for k, v in table.items() if k not in ("network", "checkpoint")})


def _network(text: str, where: str) -> str:
    file, colon, function = text.rpartition(":")
    if text.startswith(ZOO) or (colon and file.endswith(".py") and function.isidentifier()):
        return text
    raise BadInput(
        f"{text!r} is neither zoo:NAME nor file.py:function", where=where, hint="'edgesmith zoo' lists networks"
    )


def _stages(tables: Any, source: Source) -> tuple[Stage, ...]:
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        where = source.where("stage") if isinstance(tables, dict) else source.where("", "stage")
        raise BadInput("stages are tables of a list", where=where, hint="two brackets: [[stage]]")
    found: list[Stage] = []
    for i, table in enumerate(tables):
        where = source.where("stage", "method", i)
        method = table.get("method")
        if not isinstance(method, str):
            raise BadInput(f"stage {i + 1} needs a method", where=where, hint=f"one of {', '.join(sorted(STAGES))}")
        if method not in STAGES:
            raise unknown(method, STAGES, where, "method of a stage")
        rest = {k: v for k, v in table.items() if k != "method"}
        stage = checked(STAGES[method], rest, source, "stage", i)
        if found and found[-1].gives_onnx:
            raise BadInput(
                f"{method} cannot follow {found[-1].method}, which gives no module to go on with",
                where=where,
                hint=f"put {found[-1].method} last",
            )
        stage.check(i, tuple(found), where)
        found.append(stage)
    return tuple(found)
