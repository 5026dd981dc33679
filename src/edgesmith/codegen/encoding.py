"""Arrays stored in fewer bits than they have in memory, without loss: ``prepare`` expands them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["DECODER", "FORMS", "LEAST_BYTES", "Encoded", "encode"]

LEAST_BYTES = 1024
"""Smaller arrays stay as they are: expanding costs a row in a table."""


@dataclass(frozen=True)
class Encoded:
    """An array as it is stored.

    Args:
        kind: number of the form in ``DECODER``.
        data: what is stored.
        count: elements of the array.
        nbytes: size of the array in memory.
    """

    kind: int
    data: np.ndarray
    count: int
    nbytes: int


def encode(array: np.ndarray) -> Encoded | None:
    """The shortest form from which every element comes back as it was; None: the array itself.

    f32 numbers that fp16 or bf16 can hold are stored so; i8 numbers from -8 to 7 or from 0 to 15 in four bits, from -2
    to 1 (ternary weights) in two, and -1 and 1 (binary weights) in one.
    """
    if array.nbytes < LEAST_BYTES:
        return None
    for kind, form in FORMS.get(array.dtype.name, ()):
        data = form(np.ascontiguousarray(array).reshape(-1))
        if data is not None:
            return Encoded(kind, data, array.size, array.nbytes)
    return None


def _fp16(array: np.ndarray) -> np.ndarray | None:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    same = half.astype(np.float32).view(np.uint32) == array.view(np.uint32)
    return half.view(np.uint16) if same.all() else None


def _bf16(array: np.ndarray) -> np.ndarray | None:
    bits = array.view(np.uint32)
    return None if (bits & 0xFFFF).any() else (bits >> 16).astype(np.uint16)


def _bits(width: int, low: int, step: int = 1) -> Callable[[np.ndarray], np.ndarray | None]:
    """Numbers low, low + step, ... in ``width`` bits each, the first one in the lowest bits of a byte."""

    def form(array: np.ndarray) -> np.ndarray | None:
        codes, rest = np.divmod(array.astype(np.int16) - low, step)
        if rest.any() or codes.min() < 0 or codes.max() >= 1 << width:
            return None
        per_byte = 8 // width
        padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
        padded[: codes.size] = codes
        shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(width)
        return np.asarray(np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1), np.uint8)

    return form


FORMS: dict[str, tuple[tuple[int, Callable[[np.ndarray], np.ndarray | None]], ...]] = {
    "float32": ((0, _fp16), (1, _bf16)),
    "int8": ((2, _bits(1, -1, 2)), (3, _bits(2, -2)), (4, _bits(4, -8)), (5, _bits(4, 0))),
}
"""By element type, the forms from the shortest on."""

DECODER = """#include <string.h>

typedef struct {
    size_t from, to, count; /* bytes into the weights and into prepared memory, elements */
    int32_t kind; /* 0 fp16, 1 bf16 to f32; 2 to 5: one, two, four, four bits to i8 */
} expansion;

static float from_fp16(uint32_t half) {
    const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
    uint32_t bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    } else {
        bits = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void expand(const expansion *e, const unsigned char *weights, unsigned char *prepared) {
    const unsigned char *const from = weights + e->from;
    if (e->kind < 2) {
        float *const to = (float *)(void *)(prepared + e->to);
        for (size_t i = 0; i < e->count; ++i) {
            const uint32_t half = (uint32_t)from[2 * i] | (uint32_t)from[2 * i + 1] << 8, bits = half << 16;
            if (e->kind == 0) {
                to[i] = from_fp16(half);
            } else {
                memcpy(&to[i], &bits, sizeof bits);
            }
        }
        return;
    }
    const int width = e->kind == 2 ? 1 : e->kind == 3 ? 2 : 4, per_byte = 8 / width;
    const int least = e->kind == 5 ? 0 : -(1 << (width - 1));
    int8_t *const to = (int8_t *)(prepared + e->to);
    for (size_t i = 0; i < e->count; ++i) {
        const int code = from[i / (size_t)per_byte] >> (int)(i % (size_t)per_byte) * width & ((1 << width) - 1);
        to[i] = (int8_t)(e->kind == 2 ? 2 * code - 1 : code + least);
    }
}
"""
"""C text of ``expand``, little endian."""
