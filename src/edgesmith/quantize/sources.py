"""Where calibration data come from: folders, files of arrays, arrays in memory, functions, and nowhere."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgesmith.errors import BadInput, EdgesmithError
from edgesmith.ir import TensorType
from edgesmith.preprocess import Preprocess, load_arrays
from edgesmith.quantize.items import Arrays, Inputs, Item, assigned, extent, named, slices
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.synthetic import synthetic

__all__ = ["NO_DATA", "Source", "open_samples"]

Source = str | Path | np.ndarray | Arrays | Sequence[object] | Callable[[], Iterable[object]]

NO_DATA = "none"
"""The source that stands for seeded synthetic inputs."""
SYNTHETIC_RUNS = 32
PICTURES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"])
ARRAYS = frozenset((".npy", ".npz"))


def open_samples(
    source: Source, inputs: Inputs, preprocess: Preprocess | None = None, *, limit: int | None = None, seed: int = 0
) -> Samples:
    """The data that ``source`` names.

    Args:
        source: a folder of pictures, .npy and .npz files (with its subfolders); one such file of arrays, whose first
            axis counts samples; ``module:function``, which yields arrays or dicts; ``none``: seeded synthetic inputs;
            or, in Python, arrays, a list of arrays or dicts, or a function that gives an iterable of them.
        preprocess: how pictures become inputs.
        limit: most runs of the model. Of a folder that many files are taken, evenly spaced.
        seed: of synthetic inputs.

    Raises:
        BadInput: there is no such thing, or it holds no data.
    """
    if limit is not None and limit < 1:
        raise BadInput(f"{limit} samples are none", where="calibration")
    picture = preprocess or Preprocess()
    if isinstance(source, str) and source == NO_DATA:
        return _Synthetic(inputs, limit or SYNTHETIC_RUNS, picture, seed)
    if isinstance(source, str) and ":" in source and not Path(source).exists():
        return _Stream(inputs, limit, _function(source), source)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return _Folder(inputs, limit, path, picture)
        if path.suffix in ARRAYS:
            return _File(inputs, limit, path)
        why = "there is no such file or folder" if not path.exists() else "neither a folder nor .npy or .npz"
        raise BadInput(why, where=str(source), hint="--calibration FOLDER, FILE.npz, module:function or none")
    if isinstance(source, np.ndarray | Mapping):
        return _InMemory(inputs, limit, source)
    if isinstance(source, Iterator):
        raise BadInput(
            "an iterator can be read only once, calibration reads the data several times",
            where="calibration",
            hint="give a function that returns it, or a list",
        )
    if callable(source):
        return _Stream(inputs, limit, source, getattr(source, "__name__", "function"))
    if isinstance(source, Iterable):
        return _Stream(inputs, limit, lambda: source, "calibration data")
    raise BadInput(f"a {type(source).__name__} is no calibration data", where="calibration")


class _Synthetic(Samples):
    real = False

    def __init__(self, inputs: Inputs, limit: int, picture: Preprocess, seed: int) -> None:
        super().__init__(inputs, limit)
        self._picture, self._seed = picture, seed

    @property
    def label(self) -> str:
        return "synthetic inputs"

    @property
    def count(self) -> int:
        assert self.limit is not None
        return self.limit

    def _items(self) -> Iterator[Item]:
        rng = np.random.default_rng(self._seed)
        for i in range(self.count):
            yield f"synthetic input {i}", {v: synthetic(t, rng, self._picture) for v, t in self.inputs.items()}


class _Folder(Samples):
    def __init__(self, inputs: Inputs, limit: int | None, path: Path, picture: Preprocess) -> None:
        super().__init__(inputs, limit)
        self._path, self._picture = path, picture
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES | ARRAYS and p.is_file())
        if not files:
            raise BadInput("the folder holds no pictures and no .npy or .npz files", where=str(path))
        wanted = len(files) if limit is None else min(len(files), limit * self.batch)
        self._files = [files[i * len(files) // wanted] for i in range(wanted)]

    @property
    def label(self) -> str:
        return str(self._path)

    @property
    def count(self) -> int | None:
        """Known for pictures; a file of arrays may hold many samples."""
        if any(p.suffix in ARRAYS for p in self._files):
            return None
        return -(-len(self._files) // self.batch)

    def _items(self) -> Iterator[Item]:
        for path in self._files:
            if path.suffix in ARRAYS:
                yield str(path), named(str(path), load_arrays(path), self.inputs)
                continue
            if len(self.inputs) != 1:
                raise BadInput(
                    f"a picture for a model with {len(self.inputs)} inputs",
                    where=str(path),
                    hint=f"give .npz files with {', '.join(self.inputs)}",
                )
            (name, kind), *_ = self.inputs.items()
            one = TensorType((1, *kind.shape[1:]), kind.dtype)
            yield str(path), {name: self._picture.picture(path, one)}

    def _content(self) -> Iterator[bytes]:
        yield json.dumps(self._picture.to_json(), sort_keys=True).encode()
        for path in self._files:
            yield path.relative_to(self._path).as_posix().encode()
            yield _file_digest(path)


class _File(Samples):
    """A ``.npy`` or ``.npz`` file, read sample by sample."""

    def __init__(self, inputs: Inputs, limit: int | None, path: Path) -> None:
        super().__init__(inputs, limit)
        self._path = path
        if not path.is_file():
            raise BadInput("there is no such file", where=str(path))

    @property
    def label(self) -> str:
        return str(self._path)

    def _content(self) -> Iterator[bytes]:
        yield _file_digest(self._path)

    def _items(self) -> Iterator[Item]:
        try:
            if self._path.suffix == ".npy":
                array = np.load(self._path, mmap_mode="r", allow_pickle=False)
                yield from slices(str(self._path), named(str(self._path), array, self.inputs), self.inputs)
            else:
                yield from self._archive()
        except BadInput:
            raise
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise BadInput(f"cannot be read as an array: {error}", where=str(self._path)) from error

    def _archive(self) -> Iterator[Item]:
        """The arrays of an archive side by side, some rows at a time."""
        with zipfile.ZipFile(self._path) as archive:
            names = assigned(str(self._path), (n.removesuffix(".npy") for n in archive.namelist()), self.inputs)
            readers = {v: _Rows(archive, f"{n}.npy", f"{self._path}: {n}") for v, n in names.items()}
            index = 0
            while True:
                parts = {v: r.read(self.inputs[v]) for v, r in readers.items()}
                if all(p is None for p in parts.values()):
                    return
                yield f"{self._path}, sample {index}", {v: p for v, p in parts.items() if p is not None}
                index += 1


class _Rows:
    """An array in an archive, read some rows at a time, because the file has no place to jump to."""

    def __init__(self, archive: zipfile.ZipFile, name: str, where: str) -> None:
        self._file = archive.open(name)
        version = np.lib.format.read_magic(self._file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self._shape, fortran, self._dtype = header(self._file)
        if self._dtype.hasobject or (fortran and len(self._shape) > 1):
            raise BadInput("holds Python objects, or its first axis is the fastest", where=where)
        self._left = self._shape[0] if self._shape else 1

    def read(self, kind: TensorType) -> np.ndarray | None:
        """What makes one run, or what is left; None at the end."""
        if len(self._shape) < kind.rank or not self._shape:
            count, shape = self._left, self._shape
        else:
            count = min(extent(kind) if len(self._shape) == kind.rank else 1, self._left)
            shape = (count, *self._shape[1:]) if len(self._shape) == kind.rank else self._shape[1:]
        if not self._left:
            return None
        self._left -= count
        data = self._file.read(int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize)
        return np.frombuffer(data, self._dtype).reshape(shape)


class _InMemory(Samples):
    """Arrays whose first axis counts samples."""

    def __init__(self, inputs: Inputs, limit: int | None, source: np.ndarray | Arrays) -> None:
        super().__init__(inputs, limit)
        self._arrays = named(self.label, source, inputs)

    @property
    def label(self) -> str:
        return "calibration arrays"

    def _items(self) -> Iterator[Item]:
        yield from slices(self.label, self._arrays, self.inputs)


class _Stream(Samples):
    """What a function yields."""

    def __init__(self, inputs: Inputs, limit: int | None, source: Callable[[], Iterable[object]], label: str) -> None:
        super().__init__(inputs, limit)
        self._source, self._label = source, label

    @property
    def label(self) -> str:
        return self._label

    def _items(self) -> Iterator[Item]:
        try:
            found = self._source()
            for i, item in enumerate(found):
                where = f"{self._label}, sample {i}"
                yield where, named(where, item, self.inputs)
        except EdgesmithError:
            raise
        except Exception as error:
            raise BadInput(f"it fails: {error!r}", where=self._label) from error


def _function(text: str) -> Callable[[], Iterable[object]]:
    module, _, name = text.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise BadInput(
            f"cannot be imported: {error}", where=text, hint="module:function, as Python imports it"
        ) from error
    if not callable(found):
        raise BadInput("is no function", where=text)
    function: Callable[[], Iterable[object]] = found
    return function


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
