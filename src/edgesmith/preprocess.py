"""Pictures and array files to the inputs of a model."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgesmith.errors import BadInput
from edgesmith.ir import TensorType

__all__ = ["FITS", "LAYOUTS", "Preprocess", "load_arrays", "load_input"]

LAYOUTS = ("nchw", "nhwc")
FITS = ("crop", "stretch")
MAX_PIXELS = 1 << 28


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an input tensor: ``(pixel * scale - mean) / std``, pixels from 0 to 255.

    Args:
        size: (height, width) in pixels; None: what the model takes.
        fit: ``crop``: scale the shorter side and cut the middle out; ``stretch``: scale both sides.
        scale: factor on pixels; None: 1/255 for floating-point inputs, 1 for integers.
        mean, std: one value, or one for each channel, in the model's order of channels (so blue first with ``bgr``).
        bgr: blue, green, red instead of red, green, blue.
        layout: ``nchw`` or ``nhwc``; None: from the shape of the input.
    """

    size: tuple[int, int] | None = None
    fit: str = "crop"
    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    layout: str | None = None

    def __post_init__(self) -> None:
        for holds, where, why in (
            (self.size is None or min(self.size) > 0, "size", "height and width must be 1 or more"),
            (self.fit in FITS, "fit", f"{self.fit!r} is none of {', '.join(FITS)}"),
            (self.layout in (None, *LAYOUTS), "layout", f"{self.layout!r} is none of {', '.join(LAYOUTS)}"),
            (all(s != 0 for s in self.std), "std", "a standard deviation of 0 divides by zero"),
            (bool(self.mean) and bool(self.std), "mean", "no value given"),
        ):
            if not holds:
                raise BadInput(why, where=f"preprocessing: {where}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocess:
        """Raises ``BadInput`` when the data has another form."""
        try:
            size = data["size"]
            return cls(
                None if size is None else (int(size[0]), int(size[1])),
                str(data["fit"]),
                None if data["scale"] is None else float(data["scale"]),
                tuple(map(float, data["mean"])),
                tuple(map(float, data["std"])),
                bool(data["bgr"]),
                data["layout"],
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInput(f"the artifact's preprocessing cannot be read: {error!r}", where="manifest.json") from error

    def updated(self, **changes: Any) -> Preprocess:
        """A copy with the changes that are not None."""
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    def picture(self, path: Path, type: TensorType) -> np.ndarray:
        """The picture in a file as one input: shape (1, C, H, W) or (1, H, W, C), C being 1 (grey) or 3.

        Raises:
            BadInput: no picture, or the input is not one that takes pictures.
        """
        return self.image(_open(path), type, str(path))

    def takes(self, type: TensorType) -> bool:
        """Whether an input of this type takes pictures."""
        try:
            self._geometry(type)
        except BadInput:
            return False
        return True

    def image(self, picture: Image.Image, type: TensorType, where: str = "picture") -> np.ndarray:
        """A picture in memory as one input; see ``picture``.

        Args:
            where: its name, for errors.
        """
        layout, channels, height, width = self._geometry(type)
        size = self.size or (height, width)
        if size != (height, width):
            raise BadInput(
                f"size is {size[0]}x{size[1]}, the program was compiled for {height}x{width}",
                where=where,
                hint="leave the size out, or compile with another --shape",
            )
        pixels = np.asarray(_fitted(picture, size, self.fit, channels))
        pixels = pixels.reshape(height, width, channels)
        if self.bgr:
            pixels = pixels[:, :, ::-1]
        scale = self.scale if self.scale is not None else (1 / 255 if type.dtype.is_float else 1.0)
        values = (pixels.astype(np.float64) * scale - self._by_channel(self.mean, channels, "mean")) / self._by_channel(
            self.std, channels, "std"
        )
        if not type.dtype.is_float:
            values = _whole(values, type.dtype.numpy)
        if layout == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], type.dtype.numpy)

    def _geometry(self, type: TensorType) -> tuple[str, int, int, int]:
        """Layout, channels, height and width of an input that takes pictures."""
        candidates = [(layout, type.shape[1 if layout == "nchw" else 3]) for layout in LAYOUTS if type.rank == 4]
        fitting = [(layout, c) for layout, c in candidates if c in (1, 3) and self.layout in (None, layout)]
        if not fitting:
            raise BadInput(
                f"an input of shape {type.shape} takes no pictures (4 dimensions, 1 or 3 channels)",
                where="preprocessing",
                hint="give an array: --input x.npy",
            )
        layout, channels = fitting[0]
        height, width = type.shape[2:] if layout == "nchw" else type.shape[1:3]
        return layout, channels, height, width

    @staticmethod
    def _by_channel(values: tuple[float, ...], channels: int, what: str) -> np.ndarray:
        if len(values) not in (1, channels):
            raise BadInput(f"{len(values)} values for {channels} channels", where=f"preprocessing: {what}")
        return np.asarray(values, np.float64)


def _whole(values: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Rounded to the nearest integers that the type has."""
    if dtype.kind == "b":
        return np.asarray(values != 0)
    limits = np.iinfo(dtype.name)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max))


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadInput(f"{picture.width}x{picture.height} pixels are too many", where=str(path))
            picture.load()
            return picture.copy()
    except FileNotFoundError:
        raise BadInput("there is no such file", where=str(path)) from None
    except UnidentifiedImageError:
        raise BadInput(
            "neither a picture nor an array", where=str(path), hint="pictures as Pillow reads them, .npy or .npz"
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"the picture cannot be read: {error}", where=str(path)) from error


def _fitted(picture: Image.Image, size: tuple[int, int], fit: str, channels: int) -> Image.Image:
    height, width = size
    picture = picture.convert("L" if channels == 1 else "RGB")
    if fit == "crop":
        scale = max(height / picture.height, width / picture.width)
        # The part of the picture with the proportions of the target, around its centre.
        half_w, half_h = width / scale / 2, height / scale / 2
        x, y = picture.width / 2, picture.height / 2
        box = (max(x - half_w, 0), max(y - half_h, 0), min(x + half_w, picture.width), min(y + half_h, picture.height))
        return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def load_arrays(path: Path) -> dict[str, np.ndarray] | np.ndarray | None:
    """The arrays in a ``.npz`` by name, the array in a ``.npy``, or None when the file is neither.

    Raises:
        BadInput: the file has that ending and cannot be read.
    """
    if path.suffix not in (".npy", ".npz"):
        return None
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise BadInput("there is no such file", where=str(path)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"cannot be read as an array: {error}", where=str(path)) from error


def load_input(path: Path, type: TensorType, preprocess: Preprocess) -> np.ndarray:
    """One input from a picture or a ``.npy`` file.

    An array without the batch axis of a batch of one gets it; otherwise it must have the input's shape and dtype.
    """
    loaded = load_arrays(path)
    if loaded is None:
        return preprocess.picture(path, type)
    if isinstance(loaded, dict):
        raise BadInput("a .npz holds several arrays; this place takes one", where=str(path))
    return loaded[None] if type.shape[:1] == (1,) and loaded.shape == type.shape[1:] else loaded
