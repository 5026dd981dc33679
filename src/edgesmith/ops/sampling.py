"""Where Resize reads: output extents, the input coordinate of each output, and the taps around it with their weights.

All coordinates are computed in single precision in the order of operations that ONNX Runtime uses, so that rounding
decides equally. Source: https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ops.base import OnnxNode

__all__ = ["Axis", "Sampling", "Taps"]

F = np.float32
MAX_TABLE = 1 << 20
"""Longest axis that is sampled through a table."""


@dataclass(frozen=True)
class Axis:
    """One axis of a Resize: extents before and after, the scale, and the region of interest (as fractions)."""

    before: int
    after: int
    scale: np.float32
    start: np.float32
    stop: np.float32

    @property
    def is_identity(self) -> bool:
        """True when each output is the input at its own index."""
        return bool(self.scale == 1)


@dataclass(frozen=True, eq=False)
class Taps:
    """The input elements behind each output of an axis.

    Args:
        places: (outputs, taps), indices into the input.
        weights: (outputs, taps), f32.
        inside: (outputs,), False: the output gets the extrapolation value.
    """

    places: np.ndarray
    weights: np.ndarray
    inside: np.ndarray


def _half_pixel(x: np.ndarray, axis: Axis) -> np.ndarray:
    return (x + F(0.5)) / axis.scale - F(0.5)


def _half_pixel_symmetric(x: np.ndarray, axis: Axis) -> np.ndarray:
    before, after = F(axis.before), F(axis.after)
    offset = before / F(2) * (F(1) - after / (axis.scale * before))
    at: np.ndarray = np.float64(offset) + (x.astype(np.float64) + 0.5) / np.float64(axis.scale) - 0.5
    return at.astype(F)


def _align_corners(x: np.ndarray, axis: Axis) -> np.ndarray:
    return np.asarray(x * F(axis.before - 1) / F(max(axis.after - 1, 1)))


def _crop_and_resize(x: np.ndarray, axis: Axis) -> np.ndarray:
    last = F(axis.before - 1)
    if axis.after > 1:
        return axis.start * last + x * (axis.stop - axis.start) * last / F(axis.after - 1)
    return np.full_like(x, 0.5 * np.float64(axis.start + axis.stop) * np.float64(last))


_COORDINATES: dict[str, Callable[[np.ndarray, Axis], np.ndarray]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": lambda x, axis: _half_pixel(x, axis) if axis.after > 1 else np.zeros_like(x),
    "tf_half_pixel_for_nn": lambda x, axis: (x + F(0.5)) / axis.scale,
    "align_corners": _align_corners,
    "asymmetric": lambda x, axis: x / axis.scale,
    "tf_crop_and_resize": _crop_and_resize,
}


def _round(x: np.ndarray, half: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The nearest integer; ``half`` of a number within 1e-6 of the middle, as ONNX Runtime 1.31 decides."""
    return np.where(np.abs(x - np.floor(x) - F(0.5)) < F(1e-6), half(x), np.rint(x))


_ROUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: _round(x, np.floor),
    "round_prefer_ceil": lambda x: _round(x, np.ceil),
    "floor": np.floor,
    "ceil": np.ceil,
}
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
_POLICIES = ("stretch", "not_larger", "not_smaller")


@dataclass(frozen=True)
class Sampling:
    """The attributes and constant operands of a Resize, as ONNX names them; one of ``scales`` and ``sizes`` is given.

    ``axes`` () stands for all axes.
    """

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    axes: tuple[int, ...] = ()
    roi: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Sampling:
        known = {k: v for k, v in node.attributes.items() if k in cls.__dataclass_fields__}
        axes = node.integers("axes")
        if node.attributes.get("antialias", 0):
            raise node.unsupported("antialias")
        rank = node.type().rank
        if not all(-rank <= a < rank for a in axes) or len({a % rank for a in axes}) != len(axes):
            raise ModelError(f"axes {axes} of {node.type()}", where=node.name)
        crop = node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        roi = node.operand(1, "roi") if crop else None
        scales, sizes = node.operand(2, "scales"), node.ints(3, "sizes") or ()
        result = cls(
            **{  # type: ignore[arg-type]
                **known,
                "axes": tuple(a % rank for a in axes),
                "roi": () if roi is None else tuple(roi.reshape(-1).tolist()),
                "scales": () if scales is None else tuple(scales.reshape(-1).tolist()),
                "sizes": sizes,
            }
        )
        count = len(result.axes) or rank
        valid = (
            result.mode in _TAPS
            and result.coordinate_transformation_mode in _COORDINATES
            and result.nearest_mode in _ROUND
            and result.keep_aspect_ratio_policy in _POLICIES
            and (len(result.scales), len(sizes)) in ((count, 0), (0, count))
            and len(result.roi) in (0, 2 * count)
            and all(math.isfinite(s) and s > 0 for s in result.scales)
            and min(sizes, default=1) > 0
        )
        if not valid:
            raise ModelError(f"{result} does not fit {node.type()}", where=node.name)
        return result

    def to_onnx(self) -> tuple[dict[str, object], tuple[np.ndarray | None, ...]]:
        operands = ("roi", "scales", "sizes")
        attributes = {k: v for k, v in asdict(self).items() if k not in (*operands, "axes")}
        if self.axes:
            attributes["axes"] = list(self.axes)
        return attributes, (
            np.array(self.roi, F) if self.roi else None,
            np.array(self.scales, F) if self.scales else None,
            np.array(self.sizes, np.int64) if self.sizes else None,
        )

    @property
    def taps(self) -> int:
        """Number of input elements that an output element depends on along each axis."""
        return _TAPS[self.mode]

    def resolve(self, shape: Sequence[int]) -> list[Axis]:
        """The axes for an input of some shape; raises ``ModelError`` when an extent would vanish."""
        chosen = self.axes or tuple(range(len(shape)))
        roi = dict(zip(chosen, zip(self.roi[: len(chosen)], self.roi[len(chosen) :], strict=True), strict=False))
        scales, sizes = dict.fromkeys(range(len(shape)), F(1)), dict(enumerate(shape))
        if self.scales:
            scales.update((a, F(s)) for a, s in zip(chosen, self.scales, strict=True))
            sizes.update((a, int(scales[a] * F(shape[a]))) for a in chosen)
        else:
            scales.update((a, F(n) / F(shape[a])) for a, n in zip(chosen, self.sizes, strict=True) if shape[a])
            sizes.update(zip(chosen, self.sizes, strict=True))
            if self.keep_aspect_ratio_policy != "stretch":
                pick = min if self.keep_aspect_ratio_policy == "not_larger" else max
                one = pick(scales[a] for a in chosen)
                scales.update((a, one) for a in chosen)
                sizes.update((a, math.floor(float(one * F(shape[a])) + 0.5)) for a in chosen)
        if min(sizes.values(), default=0) < 1 or min(shape) < 1:
            raise ModelError(f"Resize of {tuple(shape)} to {tuple(sizes.values())}", where="Resize")
        if tuple(sizes.values()) == tuple(shape):
            # ONNX Runtime copies then, whatever the scales say.
            scales = dict.fromkeys(scales, F(1))
        if max(sizes.values()) > MAX_TABLE:
            raise UnsupportedOp(f"Resize to {tuple(sizes.values())}")
        return [Axis(n, sizes[a], scales[a], *(F(v) for v in roi.get(a, (0, 1)))) for a, n in enumerate(shape)]

    def sample(self, axis: Axis) -> Taps:
        """The taps of every output along an axis."""
        x = np.arange(axis.after, dtype=F)
        at = _COORDINATES[self.coordinate_transformation_mode](x, axis).astype(F)
        inside = np.ones(axis.after, bool)
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            inside = (at >= 0) & (at <= F(axis.before - 1))
        places, weights = {"nearest": self._nearest, "linear": _linear, "cubic": self._cubic}[self.mode](at, axis)
        return Taps(places.clip(0, axis.before - 1).astype(np.int64), weights.astype(F), inside)

    def _nearest(self, at: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        places = _ROUND[self.nearest_mode](at)[:, None]
        return places, np.ones_like(places)

    def _cubic(self, at: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Keys, Cubic convolution interpolation for digital image processing, IEEE Trans. ASSP 29(6), 1981."""
        a, base = F(self.cubic_coeff_a), np.floor(at)
        s = at - base
        weights = np.stack(
            [
                ((a * (s + 1) - 5 * a) * (s + 1) + 8 * a) * (s + 1) - 4 * a,
                ((a + 2) * s - (a + 3)) * s * s + 1,
                ((a + 2) * (1 - s) - (a + 3)) * (1 - s) * (1 - s) + 1,
                ((a * (2 - s) - 5 * a) * (2 - s) + 8 * a) * (2 - s) - 4 * a,
            ],
            axis=-1,
        )
        places = base[:, None] + np.arange(-1, 3, dtype=F)
        if self.exclude_outside:
            weights = np.where((places >= 0) & (places < axis.before), weights, F(0))
            with np.errstate(invalid="ignore"):  # where all taps are outside, the result is NaN
                weights = weights / weights.sum(axis=-1, keepdims=True)
        return places, weights


def _linear(at: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    at = np.clip(at, F(0), F(axis.before - 1))
    first = np.floor(at)
    second = np.minimum(first + 1, F(axis.before - 1))
    weights = np.stack([second - at, at - first], axis=-1)
    weights[first == second] = (1, 0)
    return np.stack([first, second], axis=-1), weights
