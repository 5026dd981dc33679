"""The sliding window that convolutions and pools share: kernel, strides, pads, dilations, rounding of the output."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ops.base import OnnxNode

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes, one entry an axis (https://onnx.ai/onnx/operators/onnx__Conv.html).

    Args:
        kernel: extent.
        strides: step between outputs.
        pads_begin, pads_end: virtual elements before and after the input.
        dilations: step between taps.
        ceil: round the output size up instead of down (the last window may hang over the end, but must start inside
            the input or the leading pad).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil: bool = False

    @classmethod
    def from_onnx(cls, node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]) -> Window:
        """Read the attributes; ``auto_pad`` is resolved for the input extents ``spatial``."""
        rank = len(spatial)

        def ints(name: str, default: int, count: int) -> tuple[int, ...]:
            values = node.integers(name, (default,) * count)
            if len(values) != count:
                raise ModelError(f"{name} has {len(values)} entries, needs {count}", where=node.name)
            return values

        strides, dilations = ints("strides", 1, rank), ints("dilations", 1, rank)
        if len(kernel) != rank or min((*strides, *dilations, *kernel), default=1) < 1:
            raise ModelError("kernel, strides and dilations need one entry of at least 1 an axis", where=node.name)
        ceil = bool(node.attributes.get("ceil_mode", 0))
        auto_pad = node.attributes.get("auto_pad", "NOTSET")
        auto_pad = auto_pad.decode() if isinstance(auto_pad, bytes) else str(auto_pad)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            if set(dilations) != {1}:
                # ONNX Runtime refuses it for convolutions and leaves the dilation out of the pads of pools.
                raise node.unsupported(f"auto_pad {auto_pad} with dilations {dilations}")
            total = [
                max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
                for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True)
            ]
            small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
            begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
            ceil = False
        elif auto_pad == "VALID":
            begin = end = (0,) * rank
        else:
            pads = ints("pads", 0, 2 * rank)
            begin, end = pads[:rank], pads[rank:]
            if min(pads, default=0) < 0:
                raise ModelError(f"pads {pads} are negative", where=node.name)
        return cls(tuple(kernel), strides, begin, end, dilations, ceil)

    def output(self, spatial: Sequence[int], where: str) -> tuple[int, ...]:
        """Output extents for input extents ``spatial``; raises ``ModelError`` when an extent would vanish."""
        extents = []
        for n, k, s, b, e, d in zip(
            spatial, self.kernel, self.strides, self.pads_begin, self.pads_end, self.dilations, strict=True
        ):
            room = n + b + e - ((k - 1) * d + 1)
            count = (-(-room // s) if self.ceil else room // s) + 1
            if self.ceil and (count - 1) * s >= n + b:
                count -= 1
            if count < 1 or room < 0:
                raise ModelError(f"window {self.kernel} is larger than the padded input {tuple(spatial)}", where=where)
            extents.append(count)
        return tuple(extents)

    def taps(self, x: np.ndarray, where: str, fill: float = 0) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Each tap of the kernel with the input elements (N, C, *output) that it meets; ``fill`` outside the input."""
        out = self.output(x.shape[2:], where)
        geometry = list(zip(out, self.strides, self.dilations, self.kernel, self.pads_begin, x.shape[2:], strict=True))
        pads = [(b, max(0, (o - 1) * s + (k - 1) * d + 1 - b - n)) for o, s, d, k, b, n in geometry]
        padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
        for tap in itertools.product(*map(range, self.kernel)):
            region = [slice(t * d, t * d + (o - 1) * s + 1, s) for t, (o, s, d, *_) in zip(tap, geometry, strict=True)]
            yield tap, padded[(slice(None), slice(None), *region)]

    def write_position(self, w: Writer, spatial: Sequence[int], out: Sequence[int]) -> str:
        """Write the input position ``i<axis>`` of tap ``k<axis>`` of output ``o<axis>``.

        Args:
            spatial, out: extents of input and output.

        Returns:
            the C condition that the position lies inside the input; empty when it always does.
        """
        conditions = []
        for a, (n, o) in enumerate(zip(spatial, out, strict=True)):
            s, d, begin = self.strides[a], self.dilations[a], self.pads_begin[a]
            before = [f"i{a} >= 0"] if begin else []
            after = [f"i{a} < {n}"] if (o - 1) * s + (self.kernel[a] - 1) * d - begin >= n else []
            if n > 1 or before or after:
                w.line(f"ES_UNUSED const int32_t i{a} = o{a} * {s} + k{a} * {d} - {begin};")
            conditions += before + after
        return " && ".join(conditions)

    def to_onnx(self) -> dict[str, object]:
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
            "pads": [*self.pads_begin, *self.pads_end],
            "dilations": list(self.dilations),
        }

    def __str__(self) -> str:
        text = "x".join(map(str, self.kernel))
        if set(self.strides) != {1}:
            text += f" s{'x'.join(map(str, dict.fromkeys(self.strides)))}"
        if set(self.pads_begin + self.pads_end) != {0}:
            text += f" p{'x'.join(map(str, dict.fromkeys(self.pads_begin + self.pads_end)))}"
        if set(self.dilations) != {1}:
            text += f" d{'x'.join(map(str, dict.fromkeys(self.dilations)))}"
        return text + (" ceil" if self.ceil else "")
