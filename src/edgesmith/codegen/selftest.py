"""Self-test data: inputs that the generated program makes for itself, and recorded samples of the expected outputs.

The specification of the generator stands in ``runtime/es_selftest.h``; the two implementations agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgesmith.ir import DType, TensorType

__all__ = ["MAX_SAMPLES", "selftest_checksum", "selftest_header", "selftest_inputs"]

Array = np.ndarray[Any, np.dtype[Any]]

MAX_SAMPLES = 4096
_INPUT_SHIFT = 48
_SEED_STRIDE = 257
_GAMMA, _MIX_1, _MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_REAL_BITS = {DType.BF16: 8, DType.F16: 11, DType.F32: 24, DType.F64: 53}
_INTEGER_BITS = {DType.I8: 8, DType.U8: 8, DType.BOOL: 1}
_OTHER_INTEGER_BITS = 3
_NUMBERS_PER_LINE = 8


def _splitmix64(positions: Array) -> Array:
    """The words of Vigna's splitmix64 (https://prng.di.unimi.it/splitmix64.c) at ``positions`` (uint64), same shape."""
    z = (positions + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def selftest_inputs(io: Sequence[TensorType], seed: int = 0) -> list[Array]:
    """The self-test values of the model's inputs, in order.

    Args:
        seed: other values of the same kind; the generated program knows those of 0.

    Returns:
        One dense array per element of ``io``, with its shape and dtype: floats uniform in [-1, 1), 8-bit integers over
        their whole range, booleans, other integers from 0 to 7.
    """
    return [_selftest_input((index + _SEED_STRIDE * seed) % (1 << 16), value) for index, value in enumerate(io)]


def _selftest_input(index: int, value: TensorType) -> Array:
    count = int(np.prod(value.shape, dtype=np.int64))
    words = _splitmix64(np.arange(count, dtype=np.uint64) + np.uint64(index << _INPUT_SHIFT))
    if value.dtype.is_float:
        bits = _REAL_BITS[value.dtype]
        half = 1 << (bits - 1)
        flat: Array = ((words >> np.uint64(64 - bits)).astype(np.int64) - half).astype(np.float64) / half
    else:
        flat = words >> np.uint64(64 - _INTEGER_BITS.get(value.dtype, _OTHER_INTEGER_BITS))
    return flat.astype(value.dtype.numpy).reshape(value.shape)


def selftest_checksum(tensor: Array) -> int:
    """Order-dependent sum of the tensor's bytes, below 2**64; equals ``es_selftest_checksum`` in C."""
    data = np.frombuffer(np.ascontiguousarray(tensor).tobytes(), np.uint8).astype(np.uint64)
    positions = np.arange(data.size, dtype=np.uint64) << np.uint64(8)
    return int(_splitmix64(positions | data).sum(dtype=np.uint64))


def selftest_header(inputs: Sequence[Array], outputs: Sequence[Array], tolerances: Sequence[float]) -> str:
    """Text of ``selftest_data.h``.

    Args:
        inputs: what the reference was run on, from :func:`selftest_inputs`; only their checksums are kept.
        outputs: what the reference gave; at most ``MAX_SAMPLES`` elements of each are kept, spread evenly with one at a
            pseudo-random place of every stretch.
        tolerances: largest absolute difference allowed, one per output.
    """
    checksums = ", ".join(f"UINT64_C(0x{selftest_checksum(tensor):016x})" for tensor in inputs) or "0"
    parts = [
        "/* Recorded self-test data: checksums of the generated inputs and samples of the expected outputs. */",
        "#ifndef ES_SELFTEST_DATA_H",
        "#define ES_SELFTEST_DATA_H",
        "",
        "#if __STDC_HOSTED__",
        "#include <math.h>",
        "#endif",
        "",
        '#include "es_selftest.h"',
        "",
        f"#define ES_SELFTEST_INPUTS {len(inputs)}",
        f"#define ES_SELFTEST_OUTPUTS {len(outputs)}",
        "",
        f"static const uint64_t es_selftest_input_checksums[] = {{{checksums}}};",
        "",
    ]
    rows = []
    for number, (output, tolerance) in enumerate(zip(outputs, tolerances, strict=True)):
        arrays, row = _output_samples(number, output, tolerance)
        parts += arrays
        rows.append(f"    {row},")
    parts += [
        "static const es_selftest_output es_selftest_outputs[] = {",
        *(rows or ["    {0, 0, NULL, NULL, NULL, 0},"]),
        "};",
        "",
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def _output_samples(number: int, output: Array, tolerance: float) -> tuple[list[str], str]:
    """C definitions of the samples of one output, and its row of the table."""
    chosen = _sample_positions(output.size)
    values = output.reshape(-1)[chosen]
    is_real = DType.of(output.dtype).is_float
    names = {"index": "NULL", "real": "NULL", "integer": "NULL"}
    arrays: list[str] = []

    def define(field: str, ctype: str, texts: Sequence[str]) -> None:
        names[field] = f"es_selftest_{field}_{number}"
        lines = (", ".join(texts[i : i + _NUMBERS_PER_LINE]) for i in range(0, len(texts), _NUMBERS_PER_LINE))
        arrays.append(f"static const {ctype} {names[field]}[] = {{\n    " + ",\n    ".join(lines) + ",\n};\n")

    if chosen.size < output.size:
        define("index", "int64_t", [str(position) for position in chosen.tolist()])
    if chosen.size and is_real:
        define("real", "double", [_real_literal(float(value)) for value in values])
    elif chosen.size:
        define("integer", "int64_t", [_integer_literal(int(value)) for value in values])
    fields = [str(output.size), str(chosen.size), *names.values(), _real_literal(float(tolerance))]
    return arrays, "{" + ", ".join(fields) + "}"


def _sample_positions(size: int) -> Array:
    if size <= MAX_SAMPLES:
        return np.arange(size, dtype=np.int64)
    starts = np.arange(MAX_SAMPLES + 1, dtype=np.int64) * size // MAX_SAMPLES
    offsets = _splitmix64(np.arange(MAX_SAMPLES, dtype=np.uint64)) % np.diff(starts).astype(np.uint64)
    return starts[:-1] + offsets.astype(np.int64)


def _real_literal(value: float) -> str:
    """The shortest exact C constant of type double."""
    if np.isnan(value):
        return "(double)NAN"
    if np.isinf(value):
        return "(double)INFINITY" if value > 0 else "-(double)INFINITY"
    mantissa, exponent = value.hex().split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent if "." in mantissa else value.hex()


def _integer_literal(value: int) -> str:
    """An int64_t constant; values above its range, which only uint64 has, wrap to the same bits."""
    signed = value - (1 << 64) if value >= 1 << 63 else value
    return f"INT64_C({signed})" if signed > -(1 << 63) else "INT64_MIN"
