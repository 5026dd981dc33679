"""The pictures of a recipe: for training, for decisions, for the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.chain.recipe import DataSpec, OptimizeRecipe
from edgesmith.compress.training import Batches, Erase, Flip, Pictures, Shift, read_arrays, read_folder, read_idx
from edgesmith.errors import BadInput
from edgesmith.preprocess import Preprocess

__all__ = ["Data"]

TEST = ("test", "test_limit")
"""Keys that decide no network, only its figures."""
_CHUNK = 1 << 20


class Data:
    """Training, validation and test pictures; read at first use.

    Normalisation is the recipe's, or that of the training pictures, everywhere.
    """

    def __init__(self, recipe: OptimizeRecipe) -> None:
        self.spec: DataSpec = recipe.data
        self._path: Callable[[str], Path] = recipe.path
        self._seed = recipe.seed

    @cached_property
    def digest(self) -> str:
        """Of the training pictures and of what is done with them: of what decides a network."""
        decisive = {k: v for k, v in asdict(self.spec).items() if k not in TEST}
        return self._digest_of([decisive, self._seed], self.spec.train)

    @cached_property
    def test_digest(self) -> str:
        """Of the test pictures, and of how the training pictures normalise them."""
        return self._digest_of([self.digest, *(getattr(self.spec, k) for k in TEST)], self.spec.test)

    def _digest_of(self, what: Any, files: str | tuple[str, ...]) -> str:
        sha = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
        for name in (files,) if isinstance(files, str) else files:
            _hash(self._path(name), sha)
        return sha.hexdigest()

    def check(self) -> None:
        """Read all pictures.

        Raises:
            BadInput: a file cannot be read, the test pictures are of other classes or of another size, or the recipe's
                mean is of another number of channels.
        """
        _ = self._parts, self._test, self._normalisation

    @cached_property
    def classes(self) -> int:
        return len(self._whole.classes)

    @cached_property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self._whole.size

    def batches(self, seed: int = 0) -> Batches:
        """Training batches, augmented."""
        changes = tuple(_augmentation(text) for text in self.spec.augment)
        size = min(self.spec.batch, len(self._parts[1]))
        return Batches(self._parts[1], size, self._normalisation, changes, seed=self._seed + seed)

    def part(self, share: float) -> Batches:
        """Batches of a share of the training pictures, every class in proportion."""
        whole = self.batches()
        return replace(whole, pictures=_limited(whole.pictures, max(round(share * len(whole.pictures)), 1), self._seed))

    @property
    def validation(self) -> Batches:
        return self.batches().evaluation(self._parts[0])

    @cached_property
    def test_inputs(self) -> np.ndarray:
        """(N, C, H, W), normalised, as the program takes them."""
        parts = [b.inputs.contiguous().numpy() for b in self.batches().evaluation(self._test).batches(0)]
        return np.concatenate([np.ascontiguousarray(p) for p in parts])

    @property
    def test_labels(self) -> np.ndarray:
        return self._test.labels.numpy()

    @cached_property
    def calibration(self) -> np.ndarray:
        """Some training pictures (N, C, H, W), normalised, every class in proportion."""
        return np.concatenate([np.ascontiguousarray(b.numpy()) for b in self.calibration_batches])

    @cached_property
    def _calibration_pictures(self) -> Pictures:
        return _limited(self._parts[1], self.spec.calibration, self._seed)

    @property
    def calibration_batches(self) -> list[Any]:
        """The same as tensors, in batches."""
        pictures = self._calibration_pictures
        return [b.inputs.contiguous() for b in self.batches().evaluation(pictures, self.spec.batch).batches(0)]

    @property
    def labelled_batches(self) -> list[tuple[Any, Any]]:
        """The same with the classes."""
        batches = self.batches().evaluation(self._calibration_pictures, self.spec.batch)
        return [(b.inputs.contiguous(), b.labels) for b in batches.batches(0)]

    @property
    def example(self) -> Any:
        """One input, as a tensor."""
        return next(self.batches().evaluation(self._parts[0].subset([0]), 1).batches(0)).inputs.contiguous()

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(self._whole.classes)

    @property
    def preprocess(self) -> Preprocess | None:
        """How a picture in a file becomes an input as training saw it; None where the data are floats, no pictures."""
        if self._whole.pixels.numpy().dtype != np.uint8:
            return None
        way = self._normalisation
        is_folder = isinstance(self.spec.train, str) and self._path(self.spec.train).is_dir()
        fit = "crop" if is_folder or not self.spec.size else "stretch"
        return Preprocess(self.size[1:], fit, way.scale, way.mean, way.std, layout="nchw")

    @cached_property
    def _normalisation(self) -> Any:
        found, mean, std = self._whole.normalisation(), self.spec.mean, self.spec.std
        if not mean:
            return found
        channels = self.size[0]
        if len(mean) not in (1, channels):
            why = f"{len(mean)} numbers, for pictures of {channels} channel{'s' * (channels > 1)}"
            raise BadInput(why, where="[data] mean", hint="one number for each channel, or one for all")
        repeats = channels // len(mean)
        return replace(found, mean=mean * repeats, std=std * repeats)

    @cached_property
    def _whole(self) -> Pictures:
        return _limited(self._read(self.spec.train, "train"), self.spec.limit, self._seed)

    @cached_property
    def _parts(self) -> tuple[Pictures, Pictures]:
        """Validation and the rest."""
        try:
            return self._whole.split(self.spec.validation, self._seed)
        except BadInput as error:
            hint = "more pictures (limit), or another share for validation"
            raise BadInput(error.why, where=f"[data] validation: {error.where}", hint=hint) from error

    @cached_property
    def _test(self) -> Pictures:
        found = self._read(self.spec.test, "test", self._whole.classes)
        if found.size != self.size:
            raise BadInput(f"pictures of {found.size}, training pictures of {self.size}", where=found.where)
        return _limited(found, self.spec.test_limit, self._seed)

    def _read(self, given: str | tuple[str, ...], what: str, classes: tuple[str, ...] = ()) -> Pictures:
        size = self.spec.size
        if isinstance(given, tuple):
            found = read_idx(self._path(given[0]), self._path(given[1]), classes)
        else:
            path = self._path(given)
            if not path.exists():
                hint = "relative paths start at the recipe's folder"
                raise BadInput("there is no such folder or file", where=f"[data] {what}: {path}", hint=hint)
            if path.is_dir():
                if not size:
                    raise BadInput("a folder needs size = [height, width]", where=f"[data] {what}")
                return read_folder(path, (size[0], size[1]), channels=self.spec.channels, classes=classes)
            found = read_arrays(path, classes)
        return found.resized(size[0], size[1]) if size else found


def _limited(pictures: Pictures, most: int, seed: int) -> Pictures:
    """So many, every class in proportion; all where ``most`` is 0 or they are fewer."""
    if not 0 < most < len(pictures):
        return pictures
    labels = pictures.labels.numpy()
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return pictures.subset(np.sort(np.argsort(place, kind="stable")[:most]).tolist())


def _augmentation(text: str) -> Any:
    name, _, number = text.partition(" ")
    if name == "shift":
        return Shift(int(number)) if number else Shift()
    return Flip() if name == "flip" else Erase()


def _hash(path: Path, sha: Any) -> None:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        sha.update(str(file.relative_to(path) if path.is_dir() else file.name).encode() + b"\0")
        try:
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    sha.update(chunk)
        except OSError as error:
            hint = "check [data]; relative paths start at the recipe's folder"
            raise BadInput(f"cannot be read: {error.strerror}", where=str(file), hint=hint) from error
