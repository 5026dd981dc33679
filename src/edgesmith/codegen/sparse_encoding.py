"""Arrays most of whose elements are zero, stored as places and values without loss: ``prepare`` expands them.

The array, read as one run of elements, is cut into units of ``unit`` elements; a unit is either zero or taken. Stored
are the places of the units that are taken, then the values of all their elements, as they are or in one of the forms of
``encoding``. Zero is what has no bit set, so that -0.0 comes back. Places are bits or codes of few bits, the first one
in the lowest bits of a byte, in the shortest of three forms:

* ``BITMAP``: one bit a unit, 1 where it is taken.
* ``GAPS``: for each taken unit a code of ``width`` bits: the number of zero units since the last one; the largest code
  stands for that many zero units, and no unit (S. Han, H. Mao, W. Dally, "Deep Compression", arXiv:1510.00149, 2015).
* ``GROUPS``: ``taken`` units of each group of 2**width (N of M), a code of ``width`` bits each. Those of a group lie
  ``stride`` apart, as pruned input channels do in weights that are packed in panels; the groups of 2**width * stride
  neighbouring units follow one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgesmith.codegen.encoding import FORMS, LEAST_BYTES

__all__ = ["BITMAP", "GAPS", "GROUPS", "SPARSE_DECODER", "SparseEncoded", "encode_sparse"]

BITMAP, GAPS, GROUPS = range(3)
LEAST_SAVING = 0.25
"""What storing zeros apart must save, as a share: expanding costs time and memory, and packing itself makes zeros."""
UNITS = (1, 4, 8, 16, 32, 64)
WIDTHS = range(1, 9)
GROUP_WIDTHS = (1, 2, 3, 4)
STRIDES = (1, 2, *range(4, 132, 4))
TRIED_GROUPS = 4096
TERNARY_BYTES = 0.26
"""An element in two bits, and what pads the last byte."""
AS_THEY_ARE = 6
"""Number of the form of values that are stored as they are; smaller ones are forms of ``encoding``."""


@dataclass(frozen=True)
class SparseEncoded:
    """A run of elements as it is stored.

    Args:
        data: places, then values; u8.
        values_at: bytes of the places.
        count: elements of the run.
        taken: units that are taken; of ``GROUPS``, in each group.
        value_form: how values are stored.
        itemsize: bytes of an element in memory.
    """

    data: np.ndarray
    values_at: int
    count: int
    taken: int
    value_form: int
    itemsize: int
    unit: int
    place_form: int
    width: int = 1
    stride: int = 1

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.count * self.itemsize

    @property
    def fields(self) -> tuple[int, ...]:
        """What ``SPARSE_DECODER`` needs beside the two addresses."""
        return (
            self.values_at,
            self.count,
            self.taken if self.place_form != GROUPS else self.count // self.unit // (1 << self.width) * self.taken,
            self.value_form,
            self.itemsize,
            self.unit,
            self.place_form,
            self.width,
            self.stride,
            self.taken,
        )


def encode_sparse(array: np.ndarray, stored_bytes: int) -> tuple[SparseEncoded, ...]:
    """The runs that an array is stored as; none where that does not save ``LEAST_SAVING``.

    Args:
        stored_bytes: what it takes otherwise.
    """
    if array.nbytes < LEAST_BYTES or array.itemsize not in (1, 2, 4):
        return ()
    flat = np.ascontiguousarray(array).reshape(-1)
    bits = flat.view(f"u{array.itemsize}")
    most = (1 - LEAST_SAVING) * stored_bytes
    # Without the zeros, values fit no shorter form than with them, but for -1 and 1 among ternary ones.
    value_bytes = stored_bytes / flat.size
    if np.count_nonzero(bits) * (value_bytes / 2 if value_bytes <= TERNARY_BYTES else value_bytes) > most:
        return ()
    found = [(_shortest(flat, bits),), *_grouped(flat, bits)]
    best = min(found, key=lambda runs: sum(r.data.nbytes for r in runs))
    return best if sum(r.data.nbytes for r in best) <= most else ()


def _shortest(flat: np.ndarray, bits: np.ndarray) -> SparseEncoded:
    """One run with a bitmap or gaps."""
    found: list[tuple[int, int, int, int]] = []
    for unit in UNITS:
        units = _taken(bits, unit)
        places = np.flatnonzero(units)
        value_bits = _values(flat, places, unit)[1].size * 8
        found.append((-(-units.size // 8) * 8 + value_bits, unit, BITMAP, 1))
        gaps = np.diff(places, prepend=-1) - 1
        for width in WIDTHS:
            codes = len(gaps) + int((gaps // ((1 << width) - 1)).sum())
            found.append((-(-codes * width // 8) * 8 + value_bits, unit, GAPS, width))
    _, unit, form, width = min(found)
    chosen = _taken(bits, unit)
    places = np.flatnonzero(chosen)
    kind, values = _values(flat, places, unit)
    stored = np.packbits(chosen, bitorder="little") if form == BITMAP else _gaps(places, width)
    data = np.concatenate([stored, values])
    return SparseEncoded(data, stored.size, flat.size, len(places), kind, flat.itemsize, unit, form, width)


def _taken(bits: np.ndarray, unit: int) -> np.ndarray:
    """Whether each unit has an element that is not zero."""
    padded = np.zeros(-(-bits.size // unit) * unit, bool)
    padded[: bits.size] = bits != 0
    return np.asarray(np.logical_or.reduce(padded.reshape(-1, unit), axis=1))


def _values(flat: np.ndarray, places: np.ndarray, unit: int) -> tuple[int, np.ndarray]:
    """The form and the bytes of the values of units."""
    padded = np.zeros(-(-flat.size // unit) * unit, flat.dtype)
    padded[: flat.size] = flat
    chosen = padded.reshape(-1, unit)[places].reshape(-1)
    if chosen.size:
        for kind, form in FORMS.get(flat.dtype.name, ()):
            data = form(chosen)
            if data is not None:
                return kind, data.view(np.uint8)
    return AS_THEY_ARE, chosen.view(np.uint8)


def _gaps(places: np.ndarray, width: int) -> np.ndarray:
    """The codes of the gaps before places, as bytes."""
    largest = (1 << width) - 1
    further, last = np.divmod(np.diff(places, prepend=-1) - 1, largest)
    codes = np.full(len(places) + int(further.sum()), largest, np.uint8)
    codes[np.cumsum(further + 1) - 1] = last
    return _packed(codes, width)


def _packed(codes: np.ndarray, width: int) -> np.ndarray:
    """Codes of ``width`` bits one after the other."""
    each = codes[:, None] >> np.arange(width, dtype=np.uint8) & np.uint8(1)
    return np.packbits(each.astype(np.uint8).reshape(-1), bitorder="little")


def _grouped(flat: np.ndarray, bits: np.ndarray) -> Iterator[tuple[SparseEncoded, ...]]:
    """Runs of which the first has N of M elements of each group; the last panel of packed weights may differ."""
    for width in GROUP_WIDTHS:
        size = 1 << width
        for stride in STRIDES:
            block = size * stride
            whole = bits.size // block * block
            if not whole:
                continue
            tried = min(whole, -(-TRIED_GROUPS // stride) * block)
            taken = int(_most(bits[:tried], size, stride).max())
            if not 0 < taken <= size // 2:
                continue
            wrong = np.flatnonzero(_most(bits[:whole], size, stride) > taken)
            end = int(wrong[0]) * block if len(wrong) else whole
            if end < flat.size // 2:
                continue
            head = _group(flat[:end], bits[:end], width, stride, taken)
            yield (head,) if end == flat.size else (head, _shortest(flat[end:], bits[end:]))


def _most(bits: np.ndarray, size: int, stride: int) -> np.ndarray:
    """The largest number of nonzero elements in a group, for each block of groups."""
    return np.asarray(np.count_nonzero(bits.reshape(-1, size, stride), axis=1).max(axis=1))


def _group(flat: np.ndarray, bits: np.ndarray, width: int, stride: int, taken: int) -> SparseEncoded:
    size = 1 << width
    groups = np.moveaxis(bits.reshape(-1, size, stride), 1, 2).reshape(-1, size) != 0
    # The places that are not zero first, in order, then others, which fill groups that have fewer.
    codes = np.sort(np.argsort(~groups, axis=1, kind="stable")[:, :taken], axis=1)
    number = np.arange(len(groups))
    places = (number // stride * stride * size + number % stride)[:, None] + codes * stride
    kind, values = _values(flat, places.reshape(-1), 1)
    stored = _packed(codes.reshape(-1).astype(np.uint8), width)
    data = np.concatenate([stored, values])
    return SparseEncoded(data, stored.size, flat.size, taken, kind, flat.itemsize, 1, GROUPS, width, stride)


SPARSE_DECODER = """
typedef struct {
    size_t from, to, values_at, count, taken; /* bytes, bytes, bytes, elements, units */
    int32_t value_form; /* as in expansion; 6: as they are */
    int32_t itemsize, unit;
    int32_t place_form; /* 0 bitmap, 1 gaps, 2 groups */
    int32_t width, stride, each; /* bits of a code, units between those of a group, units taken of a group */
} sparse_expansion;

enum { SPARSE_VALUES = 64 };

static size_t place_code(const unsigned char *from, size_t bit, int32_t width) {
    const size_t shift = bit % 8;
    unsigned code = (unsigned)from[bit / 8] >> shift;
    if (shift + (size_t)width > 8) {
        code |= (unsigned)from[bit / 8 + 1] << (8 - shift);
    }
    return code & ((1u << width) - 1u);
}

/* The values from number first on, SPARSE_VALUES of them or as many as there are. */
static void sparse_values(const sparse_expansion *e, const unsigned char *weights, size_t first, float *values) {
    static const unsigned char value_bits[] = {16, 16, 1, 2, 4, 4};
    const size_t left = e->taken * (size_t)e->unit - first, n = left < SPARSE_VALUES ? left : SPARSE_VALUES;
    const size_t from = e->from + e->values_at, size = (size_t)e->itemsize;
    if (e->value_form < 6) {
        const expansion part = {from + first * value_bits[e->value_form] / 8, 0, n, e->value_form};
        expand(&part, weights, (unsigned char *)values);
    } else {
        memcpy(values, weights + from + first * size, n * size);
    }
}

static void expand_sparse(const sparse_expansion *e, const unsigned char *weights, unsigned char *prepared) {
    const unsigned char *const from = weights + e->from;
    unsigned char *const to = prepared + e->to;
    const size_t size = (size_t)e->itemsize, unit = (size_t)e->unit, stride = (size_t)e->stride;
    const size_t largest = ((size_t)1 << e->width) - 1;
    float values[SPARSE_VALUES];
    size_t next = 0, code = 0, value = 0;
    memset(to, 0, e->count * size);
    for (size_t i = 0; i < e->taken; ++i) {
        size_t place = next;
        if (e->place_form == 0) {
            while (!(from[place / 8] >> place % 8 & 1)) {
                ++place;
            }
            next = place + 1;
        } else if (e->place_form == 1) {
            size_t gap;
            while ((gap = place_code(from, code++ * (size_t)e->width, e->width)) == largest) {
                place += largest;
            }
            place += gap;
            next = place + 1;
        } else {
            const size_t group = i / (size_t)e->each;
            place = group / stride * stride * (largest + 1) + group % stride;
            place += place_code(from, code++ * (size_t)e->width, e->width) * stride;
        }
        for (size_t j = place * unit; j < (place + 1) * unit; ++j, ++value) {
            if (value % SPARSE_VALUES == 0) {
                sparse_values(e, weights, value, values);
            }
            if (j < e->count) {
                memcpy(to + j * size, (const unsigned char *)values + value % SPARSE_VALUES * size, size);
            }
        }
    }
}
"""
"""C text of ``expand_sparse``, to follow ``encoding.DECODER``; little endian."""
