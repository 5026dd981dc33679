"""The vector layer: width-independent C over f32 vectors, specialised for one instruction set.

Kernels are written against these names; a header of ``static inline`` functions gives each its meaning:

==================  ==================================================================================
``ES_LANES``        number of f32 lanes
``es_v``            vector of f32; ``+ - * /`` work lane by lane
``es_m``            mask, all bits set in true lanes; comparisons of ``es_v`` give it; ``& | ^ ~`` work
``es_load(p)``      load ES_LANES floats from any address
``es_store(p, v)``  store them
``es_load_n(p,n)``  load the first n (0 < n < ES_LANES); the other lanes are 0
``es_store_n(p,v,n)``  store the first n
``es_load_u8(p)``   load ES_LANES integers as floats; so for i8, u16, i16; ``es_load_u8_n(p,n)`` the first n
``es_store_u8(p, v)``  store lanes that hold such integers; ``es_store_u8_n(p,v,n)`` the first n
``es_load_bf16(p)``  load ES_LANES bf16 (their bits) as floats; ``es_store_bf16(p, v)`` store lanes that bf16 can hold;
                    also ``_n``; ``es_round_bf16(v)`` the nearest that it can hold, ties to even
``es_load_f16(p)``  the same with fp16 (its bits): ``es_store_f16``, ``_n``, ``es_round_f16``; ``es_repeat_f16(p)`` the
                    one at p in every lane
``es_pairs_i16(p)`` also loads 2 ES_LANES fp16 as an ``es_m``, of which the following compute:
``es_mla_f16(c,a,b)``  c + a * b, rounded to fp16 (in between perhaps to f32); ``es_mla_f16_lane(c,a,b,n)`` c + a[n] * b
``es_add_f16(a,b)``, ``es_mul_f16``  a + b, a * b; ``es_max_f16(a,b)``, ``es_min_f16`` the larger (smaller), NaN where
                    b is; a is a number
``es_pair_f16(p)``  the one at p, 2 ES_LANES times
``es_low_f16(a)``   the lower half as floats; ``es_high_f16``; ``es_join_f16(a,b)`` floats as fp16, to nearest even
``es_load_i32(p)``, ``es_load_i32_n``, ``es_store_i32``, ``es_store_i32_n``  vectors of i32, whose type is ``es_m``
``es_round_u8(p, v, x)``  store the lanes of v, rounded to the nearest even, plus the number x of 16 bits, saturated;
                    v is below 2**31 and NaN counts as negative; ``es_round_i8``; ``es_round_u8_4(p, a, b, c, v, x)``
                    stores four vectors one behind the other, ``es_round_i8_4``; ``es_round_number_u8``, ... the same
                    where no lane is NaN; ``es_round_short_u8``, ... where each is a number within +-32767;
                    ``es_round_u8_2(p, a, v, x)``, ... store two vectors
``es_from_i32(m)``  integers as floats, rounded to nearest; ``es_to_i32(v)`` floats that are integers as such
``es_dot2(c,a,b)``  c + the two products of i16 neighbours in each lane of a and b; ``es_dot4`` the four of u8 with i8,
                    ``es_dot4_i8`` of i8 with i8; modulo 2**32, nothing saturates
``es_dot4_planes(c,a,b)``  ``es_dot4_i8`` for instruction sets that sum two products in 16 bits: all lanes of a are
                    equal; b holds the first two numbers of every lane, then the other two of every lane, none is -128
``es_dot2_planes(c,a,b)``  ``es_dot2``; all lanes of a are equal, b holds the first number of every lane, then the other
``es_mul_i8_low(a,b)``  2 ES_LANES products, as i16, of the i8 in the lower halves of a and b; ``es_mla_i8_low(c,a,b)``
                    c + those, modulo 2**16; ``es_add_i16_low(c,a)`` c + the i16 in the lower half of a; ``_high``
``es_mul_i16(a,b)``  2 ES_LANES products of i16, modulo 2**16; ``es_mla_i16(c,a,b)`` c + those
``es_dot4_lane(c,a,b,n)``  ``es_dot4`` with lane n of a in every lane; ``es_dot4_i8_lane``, ``es_dot4_planes_lane``
``es_two_u8(a, b)``  of every four lanes, two hold eight u8 from a, the others eight from b
``es_dot8_pairs(c,a,b)``  in every four lanes a and b hold two rows of eight bytes: c + the sums of their products, u8
                    with i8, of the first row of a with the first of b, with the second, the second of a with both
``es_pairs_i8(p)``  load 2 ES_LANES numbers as i16, two a lane; ``es_pairs_u8``, ``es_pairs_i16``; ``es_quads_i8``: four
                    i8 a lane; ``es_quads_u8``; ``es_pairs_i8_n(p,n)``, ``es_pairs_u8_n``: the first n, then zeros
``es_store_pairs_i16(p, a)``  store 2 ES_LANES numbers of 16 bits
``es_zip_u8(a, b)``  load ES_LANES u8 from a and from b: each lane holds one of either as i16; ``es_zip_i8``,
                    ``es_zip_i16``
``es_pair(p)``      two i16 from p in every lane; ``es_quad``: four u8; ``es_quad_i8``
``es_shuffle16(p,a)``  for each byte of a, its low half as an index of the 16 bytes at p; 0 where the byte is negative
``es_minus16(a)``   each byte of a, as a signed number, less 16; -128 at least
``es_q``            two ``es_m``: ``low`` and ``high``; of four i16 a lane the first two and the others
``es_quad_i16(p)``  four i16 from p in every lane, as ``es_q``
``es_halves_i8(p)``  load four i8 a lane as ``es_q`` of i16: the first and the third, the second and the fourth
``es_dot4_i16(c,a,b)``  c + the four products of i16 in each lane of two ``es_q``; modulo 2**32
``es_one_i8(p)``    the number at p in every lane, as i32; ``es_one_u8``; ``es_each_i8(p)``: load ES_LANES of them
``es_dot1(c,a,b)``  c + a * b of i32; modulo 2**32
``es_set1(x)``      x in all lanes
``es_first(n)``     mask of the first n lanes
``es_fma(a,b,c)``   a * b + c, fused where the instruction set can; ``es_fma_lane(a,b,c,n)`` a * b[n] + c
``es_max_number(a,b)``  the larger; where one is NaN, the other
``es_interleave_low(a,b)``, ``_high``  a0 b0 a1 b1 ... of the lower, of the upper half of the lanes
``es_even(a,b)``, ``es_odd``  the lanes of even (odd) number of a, then those of b
``es_transpose(t)``  the square matrix whose rows are t[0] to t[ES_LANES - 1], in place
``ES_SHUFFLE(a,b,...)``  lanes chosen from a (0 to ES_LANES - 1) and b (from ES_LANES)
``ES_FENCE(label)``  no operation is moved across by the compiler's scheduler, which may not mind registers in long
                    straight-line code; ``label`` is the function's own
``ES_ROLLED``       before a loop: the compiler does not unroll it
``ES_IN_ORDER``     a statement that the compiler moves no load or store across, nor keeps what was loaded before it
==================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgesmith.c import meaning
from edgesmith.c.tiles import tile_layer
from edgesmith.target import Target

__all__ = ["INCLUDES", "VECTOR_PRIMITIVES", "VectorPrimitive", "header"]

INCLUDES = "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
_BARE_INCLUDES = '#include <stddef.h>\n#include <stdint.h>\n#include "es_bare.h"\n'

_UNUSED = """#if defined(__GNUC__)
#define ES_UNUSED __attribute__((unused))
#else
#define ES_UNUSED
#endif
"""

_ROLLED = """#if defined(__clang__)
#define ES_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ES_ROLLED _Pragma("GCC unroll 1")
#endif"""

_IN_ORDER = '#define ES_IN_ORDER __asm__ volatile("" : : : "memory")'

_SHUFFLE = """#if defined(__clang__) || __GNUC__ >= 12
#define ES_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define ES_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (es_m){__VA_ARGS__})
#endif"""

# A jump to the next statement ends a basic block and costs nothing.
_FENCE = """#if defined(__wasm__)
#define ES_FENCE(label)
#else
#define ES_FENCE(label) __asm__ goto("" : : : : label); label:;
#endif"""


@dataclass(frozen=True)
class VectorPrimitive:
    """A function of the vector layer.

    Args:
        result, parameters: C signature.
        fallback: the body used when the ISA has no instruction for it.
        numpy: its meaning on arrays of ES_LANES elements; that of a store gives what the memory then holds.
    """

    result: str
    parameters: tuple[tuple[str, str], ...]
    fallback: str
    numpy: Callable[..., np.ndarray]


def _p(result: str, parameters: str, fallback: str, numpy: Callable[..., np.ndarray]) -> VectorPrimitive:
    pairs = tuple(
        (p.strip().rstrip("abcmnpvx"), p.strip().rpartition(" ")[2].lstrip("*")) for p in parameters.split(",")
    )
    return VectorPrimitive(result, pairs, fallback, numpy)


def _lane_by_lane(function: str) -> str:
    return f"for (int32_t i = 0; i < ES_LANES; ++i) {{ a[i] = {function}(a[i]); }} return a;"


def _first(n: int, chosen: np.ndarray, others: np.ndarray | float) -> np.ndarray:
    return np.where(np.arange(chosen.size) < n, chosen, others).astype(chosen.dtype)


def _converted(dtype: type[np.generic], p: np.ndarray, n: int | None = None) -> np.ndarray:
    """The first ``n`` elements (None: all) as numbers of a type, and zeros."""
    return _first(p.size if n is None else n, p.astype(dtype), 0)


def _interleaved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], 1).reshape(-1)


_ZIPPED = (
    "const es_m m = __builtin_convertvector(*(const es_{0}_unaligned *)a, es_m); "
    "const es_m n = __builtin_convertvector(*(const es_{0}_unaligned *)b, es_m); "
    "return (m & 0xffff) | (es_m)((es_u)n << 16);"
)
_COPIED = "es_m m; memcpy(&m, p, sizeof m); return m;"
_REPEATED = "int32_t x; memcpy(&x, p, sizeof x); return es_set1_i32(x);"
_BYTE = "((es_m)((es_u){} << (24 - i)) >> 24)"
_FOUR_PRODUCTS = (
    "es_u sum = (es_u)c; for (int32_t i = 0; i < 32; i += 8) "
    f"{{{{ sum += (es_u)({{}} * {_BYTE.format('b')}); }}}} return (es_m)sum;"
)


def _integers() -> dict[str, VectorPrimitive]:
    """Loads and stores of integers: narrow ones as floats, i32 as they are."""
    found: dict[str, VectorPrimitive] = {}
    for name in ("u8", "i8", "u16", "i16", "i32"):
        element, lanes = ("int" if name[0] == "i" else "uint") + f"{name[1:]}_t", "es_m" if name == "i32" else "es_v"
        whole = "{0}" if name == "i32" else f"__builtin_convertvector({{0}}, {lanes})"
        number = np.int32 if name == "i32" else np.float32
        stored = "v" if name == "i32" else f"__builtin_convertvector(v, es_{name})"
        read = whole.format(f"*(const es_{name}_unaligned *)p")
        some = f"es_{name} v = {{0}}; memcpy(&v, p, (size_t)n * sizeof(*p)); return {whole.format('v')};"
        write = f"*(es_{name}_unaligned *)p = {stored};"
        part = f"const es_{name} w = {stored}; memcpy(p, &w, (size_t)n * sizeof(*p));"
        found |= {
            f"load_{name}": _p(lanes, f"const {element} *p", f"return {read};", partial(_converted, number)),
            f"load_{name}_n": _p(lanes, f"const {element} *p, int32_t n", some, partial(_converted, number)),
            f"store_{name}": _p("void", f"{element} *p, {lanes} v", write, lambda p, v: v.astype(p.dtype)),
            f"store_{name}_n": _p(
                "void", f"{element} *p, {lanes} v, int32_t n", part, lambda p, v, n: _first(n, v.astype(p.dtype), p)
            ),
        }
    return found


def _rounded() -> dict[str, VectorPrimitive]:
    """Stores of floats as bytes."""
    found: dict[str, VectorPrimitive] = {}
    for name, element in (("u8", "uint8_t"), ("i8", "int8_t")):
        limits = np.iinfo(name.replace("u", "uint") if name[0] == "u" else name.replace("i", "int"))
        low, high = (f"es_set1({number}.0f)" for number in (int(limits.min), int(limits.max)))
        one = f"es_store_{name}(p, es_min(es_max(es_rint(v) + es_set1((float)x), {low}), {high}));"
        four = " ".join(f"es_round_{name}(p + {i} * ES_LANES, {v}, x);" for i, v in enumerate("abcv"))
        two = f"es_round_{name}(p, a, x); es_round_{name}(p + ES_LANES, v, x);"
        others = (
            f"es_round_{name}(p, v, x);",
            f"es_round_{name}_2(p, a, v, x);",
            f"es_round_{name}_4(p, a, b, c, v, x);",
        )
        for kind, body, pair, bodies in (
            ("round", one, two, four),
            ("round_number", *others),
            ("round_short", *others),
        ):
            found |= {
                f"{kind}_{name}": _p("void", f"{element} *p, es_v v, int32_t x", body, meaning.stored_rounded),
                f"{kind}_{name}_2": _p(
                    "void",
                    f"{element} *p, es_v a, es_v v, int32_t x",
                    pair,
                    lambda p, a, v, x: meaning.stored_rounded(p, np.concatenate([a, v]), x),
                ),
                f"{kind}_{name}_4": _p(
                    "void",
                    f"{element} *p, es_v a, es_v b, es_v c, es_v v, int32_t x",
                    bodies,
                    lambda p, a, b, c, v, x: meaning.stored_rounded(p, np.concatenate([a, b, c, v]), x),
                ),
            }
    return found


def _halves(half: str, number: int) -> dict[str, VectorPrimitive]:
    """Products of bytes in half of the lanes, and sums of numbers of 16 bits in half of the lanes."""
    bytes_of = "int8_t x[4 * ES_LANES], y[4 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
    products = (
        "for (int32_t i = 0; i < 2 * ES_LANES; ++i) "
        f"{{ z[i] = (int16_t)(z[i] + x[i + {number} * 2 * ES_LANES] * y[i + {number} * 2 * ES_LANES]); }} "
    )
    return {
        f"mul_i8_{half}": _p(
            "es_m",
            "es_m a, es_m b",
            f"{bytes_of}int16_t z[2 * ES_LANES] = {{0}}; {products}memcpy(&a, z, sizeof a); return a;",
            lambda a, b: meaning.byte_products(a, b, number).view(np.int32),
        ),
        f"mla_i8_{half}": _p(
            "es_m",
            "es_m c, es_m a, es_m b",
            f"{bytes_of}int16_t z[2 * ES_LANES]; memcpy(z, &c, sizeof c); {products}memcpy(&c, z, sizeof c); return c;",
            lambda c, a, b: (c.view(np.int16) + meaning.byte_products(a, b, number)).view(np.int32),
        ),
        f"add_i16_{half}": _p(
            "es_m",
            "es_m c, es_m a",
            "int16_t x[2 * ES_LANES]; memcpy(x, &a, sizeof a); for (int32_t i = 0; i < ES_LANES; ++i) "
            f"{{ c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)(int32_t)x[i + {number} * ES_LANES]); }} return c;",
            lambda c, a: c + a.view(np.int16).reshape(2, -1)[number],
        ),
    }


def _short_products() -> dict[str, VectorPrimitive]:
    """Products of 16-bit numbers, and sums of them, that keep 16 bits."""
    numbers = "uint16_t x[2 * ES_LANES], y[2 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
    each = "for (int32_t i = 0; i < 2 * ES_LANES; ++i) "
    return {
        "mul_i16": _p(
            "es_m",
            "es_m a, es_m b",
            f"{numbers}{each}{{ x[i] = (uint16_t)((uint32_t)x[i] * y[i]); }} memcpy(&a, x, sizeof a); return a;",
            lambda a, b: (a.view(np.int16) * b.view(np.int16)).view(np.int32),
        ),
        "mla_i16": _p(
            "es_m",
            "es_m c, es_m a, es_m b",
            f"{numbers}uint16_t z[2 * ES_LANES]; memcpy(z, &c, sizeof c); "
            f"{each}{{ z[i] = (uint16_t)(z[i] + (uint32_t)x[i] * y[i]); }} memcpy(&c, z, sizeof c); return c;",
            lambda c, a, b: (c.view(np.int16) + a.view(np.int16) * b.view(np.int16)).view(np.int32),
        ),
    }


def _by_lane() -> dict[str, VectorPrimitive]:
    """Products of bytes with one lane."""
    meanings = {"dot4": meaning.dot4, "dot4_i8": meaning.dot4_i8, "dot4_planes": meaning.dot4_planes}

    def repeated(dot: Callable[..., np.ndarray], c: np.ndarray, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
        return dot(c, np.full_like(a, a[n]), b)

    return {
        f"{name}_lane": _p(
            "es_m",
            "es_m c, es_m a, es_m b, int32_t n",
            f"return es_{name}(c, es_set1_i32(a[n]), b);",
            partial(repeated, dot),
        )
        for name, dot in meanings.items()
    }


def _of_two_rows() -> dict[str, VectorPrimitive]:
    """Products of two rows of bytes with two others."""
    products = (
        "uint8_t x[4 * ES_LANES]; int8_t y[4 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
        "for (int32_t i = 0; i < ES_LANES; ++i) { const int32_t row = i / 4 * 16 + i % 4 / 2 * 8; "
        "const int32_t other = i / 4 * 16 + i % 2 * 8; uint32_t sum = (uint32_t)c[i]; "
        "for (int32_t k = 0; k < 8; ++k) "
        "{ sum += (uint32_t)(x[(row + k) % (4 * ES_LANES)] * y[(other + k) % (4 * ES_LANES)]); } "
        "c[i] = (int32_t)sum; } return c;"
    )
    return {
        "two_u8": _p(
            "es_m",
            "const uint8_t *a, const uint8_t *b",
            "uint8_t x[4 * ES_LANES]; for (int32_t k = 0; k < 4 * ES_LANES; ++k) "
            "{ x[k] = (k % 16 < 8 ? a : b)[k % 8]; } es_m m; memcpy(&m, x, sizeof m); return m;",
            meaning.two_rows,
        ),
        "dot8_pairs": _p("es_m", "es_m c, es_m a, es_m b", products, meaning.dot8_pairs),
    }


def _quads() -> dict[str, VectorPrimitive]:
    """Products of single bytes, and of four 16-bit numbers a lane in two registers."""
    pair = "(int32_t)((uint32_t)(uint16_t)p[4 * i + {}] | (uint32_t)p[4 * i + {}] << 16)"
    halves = f"q.low[i] = {pair.format(0, 2)}; q.high[i] = {pair.format(1, 3)};"
    sum_of_products = "return es_dot2(es_dot2(c, a.low, b.low), a.high, b.high);"
    return {
        "one_i8": _p("es_m", "const int8_t *p", "return es_set1_i32(*p);", lambda p: p[:1].astype(np.int32)),
        "one_u8": _p("es_m", "const uint8_t *p", "return es_set1_i32(*p);", lambda p: p[:1].astype(np.int32)),
        "each_i8": _p(
            "es_m",
            "const int8_t *p",
            "return __builtin_convertvector(*(const es_i8_unaligned *)p, es_m);",
            partial(_converted, np.int32),
        ),
        "dot1": _p("es_m", "es_m c, es_m a, es_m b", "return (es_m)((es_u)c + (es_u)a * (es_u)b);", meaning.dot1),
        "quad_i16": _p(
            "es_q", "const int16_t *p", "const es_q q = {es_pair(p), es_pair(p + 2)}; return q;", meaning.quad_i16
        ),
        "halves_i8": _p(
            "es_q",
            "const int8_t *p",
            f"es_q q = {{{{0}}, {{0}}}}; for (int32_t i = 0; i < ES_LANES; ++i) {{ {halves} }} return q;",
            meaning.halves,
        ),
        "dot4_i16": _p("es_m", "es_m c, es_q a, es_q b", sum_of_products, meaning.dot4_i16),
    }


def _bf16() -> dict[str, VectorPrimitive]:
    """Loads and stores of bf16, which is the upper half of an f32."""
    widened = "return (es_v)((es_u)__builtin_convertvector({0}, es_m) << 16);"
    narrowed = "__builtin_convertvector((es_u)v >> 16, es_u16)"
    some = f"es_u16 v = {{0}}; memcpy(&v, p, (size_t)n * sizeof(*p)); {widened.format('v')}"
    part = f"const es_u16 w = {narrowed}; memcpy(p, &w, (size_t)n * sizeof(*p));"
    return {
        "load_bf16": _p("es_v", "const uint16_t *p", widened.format("*(const es_u16_unaligned *)p"), meaning.from_bf16),
        "load_bf16_n": _p(
            "es_v", "const uint16_t *p, int32_t n", some, lambda p, n: _first(n, meaning.from_bf16(p), 0.0)
        ),
        "store_bf16": _p(
            "void", "uint16_t *p, es_v v", f"*(es_u16_unaligned *)p = {narrowed};", lambda p, v: meaning.bf16_bits(v)
        ),
        "store_bf16_n": _p(
            "void", "uint16_t *p, es_v v, int32_t n", part, lambda p, v, n: _first(n, meaning.bf16_bits(v), p)
        ),
        # Adding half a unit, less one where the last bit kept is even, carries into that bit; NaN becomes quiet.
        "round_bf16": _p(
            "es_v",
            "es_v a",
            "const es_u bits = (es_u)a, nearest = bits + 0x7fff + ((bits >> 16) & 1); const es_m nan = a != a; "
            "return (es_v)((((nearest & ~(es_u)nan) | ((bits | 0x400000) & (es_u)nan))) & 0xffff0000u);",
            meaning.round_bf16,
        ),
    }


def _f16() -> dict[str, VectorPrimitive]:
    """Loads and stores of fp16, and arithmetic on twice as many of them as there are floats."""
    widened = (
        "const es_u m = u & 0x7fff; const es_m tiny = (es_m)(m < 0x400), large = (es_m)(m >= 0x7c00); "
        "const es_u usual = (m << 13) + 0x38000000u + ((es_u)large & 0x38000000u); "
        "const es_u small = (es_u)(__builtin_convertvector((es_m)m, es_v) * 0x1p-24f); "
        "return (es_v)((usual & ~(es_u)tiny) | (small & (es_u)tiny) | ((u & 0x8000) << 16));"
    )
    narrowed = (
        "const es_u bits = (es_u)v, m = bits & 0x7fffffff; const es_m tiny = (es_m)(m < 0x38800000u); "
        "const es_u usual = (m - ((es_u)(m >= 0x7f800000u) & 0x38000000u) - 0x38000000u) >> 13; "
        "const es_u kept = m & (es_u)tiny; "
        "const es_u small = (es_u)__builtin_convertvector((es_v)kept * 0x1p24f, es_m); "
        "const es_u16 w = "
        "__builtin_convertvector((usual & ~(es_u)tiny) | (small & (es_u)tiny) | ((bits >> 16) & 0x8000), es_u16); "
    )
    two = "uint16_t x[2 * ES_LANES]; memcpy(x, &a, sizeof a); "

    def halves(template: str) -> str:
        """What a template makes of floats, of both halves."""
        parts = (template.format(*(f"es_{half}_f16({v})" for v in "abc")) for half in ("low", "high"))
        return f"return es_join_f16({', '.join(parts)});"

    return {
        "load_f16": _p(
            "es_v",
            "const uint16_t *p",
            f"const es_u u = __builtin_convertvector(*(const es_u16_unaligned *)p, es_u); {widened}",
            meaning.from_f16,
        ),
        "load_f16_n": _p(
            "es_v",
            "const uint16_t *p, int32_t n",
            "uint16_t x[ES_LANES] = {0}; memcpy(x, p, (size_t)n * sizeof(*p)); return es_load_f16(x);",
            lambda p, n: _first(n, meaning.from_f16(p), 0.0),
        ),
        "repeat_f16": _p(
            "es_v",
            "const uint16_t *p",
            f"const es_u u = (uint32_t)*p - (es_u){{0}}; {widened}",
            lambda p: np.repeat(meaning.from_f16(p[:1]), p.size),
        ),
        "store_f16": _p(
            "void",
            "uint16_t *p, es_v v",
            f"{narrowed}*(es_u16_unaligned *)p = w;",
            lambda p, v: meaning.f16_bits(v),
        ),
        "store_f16_n": _p(
            "void",
            "uint16_t *p, es_v v, int32_t n",
            "uint16_t x[ES_LANES]; es_store_f16(x, v); memcpy(p, x, (size_t)n * sizeof(*p));",
            lambda p, v, n: _first(n, meaning.f16_bits(v), p),
        ),
        # Below 2**-14 a sum with 0.5 has the unit of fp16; above, as for bf16, and what exceeds it is infinite.
        "round_f16": _p(
            "es_v",
            "es_v a",
            "const es_u bits = (es_u)a, m = bits & 0x7fffffff; const es_m nan = a != a; "
            "const es_m tiny = (es_m)(m < 0x38800000u); "
            "const es_u near = (m + 0xfff + ((m >> 13) & 1)) & 0xffffe000u; "
            "const es_u most = (es_u)(near >= 0x47800000u); const es_u usual = (near & ~most) | (most & 0x7f800000u); "
            "const es_v half = (es_v){0.0f} + 0.5f, small = ((es_v)m + half) - half; "
            "const es_u found = (usual & ~(es_u)tiny) | ((es_u)small & (es_u)tiny); "
            "const es_u quiet = (m | 0x400000u) & 0xffffe000u; "
            "return (es_v)((found & ~(es_u)nan) | (quiet & (es_u)nan) | (bits & 0x80000000u));",
            meaning.round_f16,
        ),
        "pair_f16": _p(
            "es_m",
            "const uint16_t *p",
            "return es_set1_i32((int32_t)((uint32_t)*p * 0x10001u));",
            lambda p: np.repeat(p[:1], 2 * p.size).view(np.int32),
        ),
        "low_f16": _p("es_v", "es_m a", f"{two}return es_load_f16(x);", lambda a: meaning.from_f16(a, 0)),
        "high_f16": _p("es_v", "es_m a", f"{two}return es_load_f16(x + ES_LANES);", lambda a: meaning.from_f16(a, 1)),
        "join_f16": _p(
            "es_m",
            "es_v a, es_v b",
            "uint16_t x[2 * ES_LANES]; es_store_f16(x, es_round_f16(a)); es_store_f16(x + ES_LANES, es_round_f16(b)); "
            "es_m m; memcpy(&m, x, sizeof m); return m;",
            lambda a, b: meaning.f16_bits(np.concatenate([a, b])).view(np.int32),
        ),
        **{
            f"{name}_f16": _p("es_m", "es_m a, es_m b", halves(template), partial(meaning.of_halves, numpy))
            for name, template, numpy in (
                ("add", "{0} + {1}", np.add),
                ("mul", "{0} * {1}", np.multiply),
                ("max", "es_max({0}, {1})", meaning.maximum),
                ("min", "es_min({0}, {1})", meaning.minimum),
            )
        },
        "mla_f16": _p("es_m", "es_m c, es_m a, es_m b", halves("es_fma({0}, {1}, {2})"), meaning.mla_f16),
        "mla_f16_lane": _p(
            "es_m",
            "es_m c, es_m a, es_m b, int32_t n",
            f"{two}return es_mla_f16(c, es_pair_f16(x + n), b);",
            lambda c, a, b, n: meaning.mla_f16(c, np.repeat(a.view(np.int16)[n], 2 * a.size).view(np.int32), b),
        ),
    }


def _pairs(name: str) -> dict[str, VectorPrimitive]:
    """Loads of bytes as pairs of i16."""
    element = ("int" if name[0] == "i" else "uint") + f"{name[1:]}_t"
    widened = "return (es_m)__builtin_convertvector({0}, es_i16_pairs);"
    some = f"es_{name}_pairs v = {{0}}; memcpy(&v, p, (size_t)n); {widened.format('v')}"

    def first(p: np.ndarray, n: int | None = None) -> np.ndarray:
        return _first(p.size if n is None else n, p.astype(np.int16), 0).view(np.int32)

    return {
        f"pairs_{name}": _p(
            "es_m", f"const {element} *p", widened.format(f"*(const es_{name}_pairs_unaligned *)p"), first
        ),
        f"pairs_{name}_n": _p("es_m", f"const {element} *p, int32_t n", some, first),
    }


VECTOR_PRIMITIVES: dict[str, VectorPrimitive] = {
    "load": _p("es_v", "const float *p", "return *(const es_v_unaligned *)p;", lambda p: p),
    "store": _p("void", "float *p, es_v v", "*(es_v_unaligned *)p = v;", lambda p, v: v),
    "load_n": _p(
        "es_v",
        "const float *p, int32_t n",
        "es_v v = {0.0f}; memcpy(&v, p, (size_t)n * sizeof(float)); return v;",
        lambda p, n: _first(n, p, 0.0),
    ),
    "store_n": _p(
        "void",
        "float *p, es_v v, int32_t n",
        "memcpy(p, &v, (size_t)n * sizeof(float));",
        lambda p, v, n: _first(n, v, p),
    ),
    **_integers(),
    **_bf16(),
    "set1_i32": _p("es_m", "int32_t x", "return x - (es_m){0};", lambda x: x),
    **_pairs("u8"),
    **_pairs("i8"),
    "pairs_i16": _p("es_m", "const int16_t *p", _COPIED, lambda p: p.view(np.int32)),
    "store_pairs_i16": _p("void", "int16_t *p, es_m a", "memcpy(p, &a, sizeof a);", lambda p, a: a.view(np.int16)),
    "quads_i8": _p("es_m", "const int8_t *p", _COPIED, lambda p: p.view(np.int32)),
    "quads_u8": _p("es_m", "const uint8_t *p", _COPIED, lambda p: p.view(np.int32)),
    "zip_u8": _p("es_m", "const uint8_t *a, const uint8_t *b", _ZIPPED.format("u8"), meaning.zipped),
    "zip_i16": _p("es_m", "const int16_t *a, const int16_t *b", _ZIPPED.format("i16"), meaning.zipped),
    "zip_i8": _p("es_m", "const int8_t *a, const int8_t *b", _ZIPPED.format("i8"), meaning.zipped),
    "pair": _p("es_m", "const int16_t *p", _REPEATED, lambda p: p[:2].view(np.int32)),
    "quad": _p("es_m", "const uint8_t *p", _REPEATED, lambda p: p[:4].view(np.int32)),
    "quad_i8": _p("es_m", "const int8_t *p", _REPEATED, lambda p: p[:4].view(np.int32)),
    "dot2": _p(
        "es_m",
        "es_m c, es_m a, es_m b",
        "const es_m low = ((es_m)((es_u)a << 16) >> 16) * ((es_m)((es_u)b << 16) >> 16); "
        "return (es_m)((es_u)c + (es_u)low + (es_u)((a >> 16) * (b >> 16)));",
        meaning.dot2,
    ),
    "dot2_planes": _p(
        "es_m",
        "es_m c, es_m a, es_m b",
        "int16_t x[2 * ES_LANES], y[2 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
        "for (int32_t i = 0; i < ES_LANES; ++i) { c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)(x[2 * i] * y[i]) "
        "+ (uint32_t)(x[2 * i + 1] * y[i + ES_LANES])); } return c;",
        meaning.dot2_planes,
    ),
    "dot4": _p("es_m", "es_m c, es_m a, es_m b", _FOUR_PRODUCTS.format("((a >> i) & 255)"), meaning.dot4),
    "dot4_i8": _p("es_m", "es_m c, es_m a, es_m b", _FOUR_PRODUCTS.format(_BYTE.format("a")), meaning.dot4_i8),
    "dot4_planes": _p(
        "es_m",
        "es_m c, es_m a, es_m b",
        "int8_t x[4 * ES_LANES], y[4 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
        "for (int32_t i = 0; i < ES_LANES; ++i) { int32_t sum = 0; for (int32_t j = 0; j < 4; ++j) "
        "{ sum += x[4 * i + j] * y[(j & 2) * ES_LANES + 2 * i + (j & 1)]; } "
        "c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)sum); } return c;",
        meaning.dot4_planes,
    ),
    **_by_lane(),
    **_quads(),
    **_of_two_rows(),
    **_halves("low", 0),
    **_halves("high", 1),
    **_short_products(),
    "shuffle16": _p(
        "es_m",
        "const uint8_t *p, es_m a",
        "int8_t b[4 * ES_LANES]; memcpy(b, &a, sizeof a); "
        "for (int32_t i = 0; i < 4 * ES_LANES; ++i) { b[i] = (int8_t)(b[i] < 0 ? 0 : p[b[i] & 15]); } "
        "memcpy(&a, b, sizeof a); return a;",
        lambda p, a: np.where(a.view(np.int8) < 0, 0, p[a.view(np.int8) & 15]).astype(np.uint8).view(np.int32),
    ),
    "minus16": _p(
        "es_m",
        "es_m a",
        "int8_t b[4 * ES_LANES]; memcpy(b, &a, sizeof a); "
        "for (int32_t i = 0; i < 4 * ES_LANES; ++i) { b[i] = (int8_t)(b[i] < -112 ? -128 : b[i] - 16); } "
        "memcpy(&a, b, sizeof a); return a;",
        lambda a: np.maximum(a.view(np.int8).astype(np.int16) - 16, -128).astype(np.int8).view(np.int32),
    ),
    "from_i32": _p("es_v", "es_m a", "return __builtin_convertvector(a, es_v);", lambda a: a.astype(np.float32)),
    "to_i32": _p("es_m", "es_v a", "return __builtin_convertvector(a, es_m);", lambda a: a.astype(np.int32)),
    "set1": _p("es_v", "float x", "return x - (es_v){0.0f};", lambda x: x),
    "first": _p(
        "es_m",
        "int32_t n",
        "es_m m; for (int32_t i = 0; i < ES_LANES; ++i) { m[i] = i < n ? -1 : 0; } return m;",
        lambda n: np.arange(64) < n,
    ),
    "fma": _p("es_v", "es_v a, es_v b, es_v c", "return a * b + c;", meaning.fma),
    "fma_lane": _p(
        "es_v",
        "es_v a, es_v b, es_v c, int32_t n",
        "return es_fma(a, es_set1(b[n]), c);",
        lambda a, b, c, n: meaning.fma(a, b[n], c),
    ),
    "select": _p("es_v", "es_m m, es_v a, es_v b", "return (es_v)(((es_m)a & m) | ((es_m)b & ~m));", np.where),
    "max": _p("es_v", "es_v a, es_v b", "return es_select(a > b, a, b);", meaning.maximum),
    "max_number": _p("es_v", "es_v a, es_v b", "return es_select((a > b) | (b != b), a, b);", np.fmax),
    "min": _p("es_v", "es_v a, es_v b", "return es_select(a < b, a, b);", meaning.minimum),
    "abs": _p("es_v", "es_v a", "return (es_v)((es_m)a & 0x7fffffff);", np.abs),
    "copysign": _p(
        "es_v",
        "es_v a, es_v b",
        "return (es_v)(((es_m)a & 0x7fffffff) | ((es_m)b & ~0x7fffffff));",
        np.copysign,
    ),
    "sqrt": _p("es_v", "es_v a", _lane_by_lane("sqrtf"), np.sqrt),
    "floor": _p("es_v", "es_v a", _lane_by_lane("floorf"), np.floor),
    "ceil": _p("es_v", "es_v a", _lane_by_lane("ceilf"), np.ceil),
    "rint": _p("es_v", "es_v a", _lane_by_lane("rintf"), np.rint),
    **_rounded(),
    "exp2_biased": _p("es_v", "es_v a", "return (es_v)((es_m)a << 23);", meaning.exp2_biased),
    "exponent": _p(
        "es_v",
        "es_v a",
        "return __builtin_convertvector((((es_m)a >> 23) & 0xff) - 127, es_v);",
        lambda a: np.floor(np.log2(a)),
    ),
    "significand": _p(
        "es_v", "es_v a", "return (es_v)(((es_m)a & 0x7fffff) | 0x3f800000);", lambda a: np.frexp(a)[0] * 2
    ),
    "interleave_low": _p(
        "es_v",
        "es_v a, es_v b",
        "return ES_SHUFFLE(a, b, ES_INTERLEAVE_LOW);",
        lambda a, b: _interleaved(a, b)[: a.size],
    ),
    "interleave_high": _p(
        "es_v",
        "es_v a, es_v b",
        "return ES_SHUFFLE(a, b, ES_INTERLEAVE_HIGH);",
        lambda a, b: _interleaved(a, b)[a.size :],
    ),
    "even": _p("es_v", "es_v a, es_v b", "return ES_SHUFFLE(a, b, ES_EVEN);", lambda a, b: np.concatenate([a, b])[::2]),
    "odd": _p("es_v", "es_v a, es_v b", "return ES_SHUFFLE(a, b, ES_ODD);", lambda a, b: np.concatenate([a, b])[1::2]),
    # Neighbours are combined until every lane holds the result.
    "sum": _p(
        "float",
        "es_v a",
        "for (int32_t n = ES_LANES; n > 1; n /= 2) { a = es_even(a, a) + es_odd(a, a); } return a[0];",
        np.sum,
    ),
    "reduce_max": _p(
        "float",
        "es_v a",
        "for (int32_t n = ES_LANES; n > 1; n /= 2) { a = es_max(es_even(a, a), es_odd(a, a)); } return a[0];",
        np.max,
    ),
    **_f16(),
}

_TRANSPOSE = """
ES_UNUSED static inline void es_transpose(es_v *t) {
    for (int32_t stage = 1; stage < ES_LANES; stage *= 2) {
        es_v u[ES_LANES];
        for (int32_t i = 0; i < ES_LANES / 2; ++i) {
            u[2 * i] = es_interleave_low(t[i], t[i + ES_LANES / 2]);
            u[2 * i + 1] = es_interleave_high(t[i], t[i + ES_LANES / 2]);
        }
        for (int32_t i = 0; i < ES_LANES; ++i) {
            t[i] = u[i];
        }
    }
}
"""

_SCALAR = """
ES_UNUSED static inline float es_exp2_biased_f32(const float a) {
    uint32_t bits;
    float x;
    memcpy(&bits, &a, sizeof bits);
    bits <<= 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ES_UNUSED static inline float es_exponent_f32(const float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return (float)(int32_t)((bits >> 23) & 0xffu) - 127.0f;
}

ES_UNUSED static inline float es_widen_bf16(const uint16_t a) {
    const uint32_t bits = (uint32_t)a << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ES_UNUSED static inline uint16_t es_narrow_bf16(const float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return (uint16_t)((a != a ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

ES_UNUSED static inline float es_widen_f16(const uint16_t a) {
    const uint32_t magnitude = a & 0x7fffu;
    uint32_t bits = (magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u);
    float x;
    if (magnitude < 0x400u) {
        const float subnormal = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &subnormal, sizeof bits);
    }
    bits |= (uint32_t)(a & 0x8000u) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* fp16, to nearest, ties to even; NaN stays a quiet NaN. */
ES_UNUSED static inline uint16_t es_narrow_f32(const float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t result;
    if (magnitude > 0x7f800000u) {
        result = 0x7e00u | ((magnitude >> 13) & 0x1ffu);
    } else if (magnitude >= 0x477ff000u) {
        result = 0x7c00u;
    } else if (magnitude >= 0x38800000u) {
        result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    } else {
        float x;
        memcpy(&x, &magnitude, sizeof x);
        x += 0.5f;
        memcpy(&result, &x, sizeof result);
        result -= 0x3f000000u;
    }
    return (uint16_t)(sign | result);
}

ES_UNUSED static inline float es_significand_f32(const float a) {
    uint32_t bits;
    float x;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits & 0x7fffffu) | 0x3f800000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}
"""


def header(target: Target) -> str:
    """Text of the header that kernels of ``target`` include; without an ISA it is plain C99."""
    isa = target.isa
    text = (_BARE_INCLUDES if target.is_bare else INCLUDES) + _UNUSED + _SCALAR
    if isa is None:
        return text
    lanes = target.lanes
    lines = [
        f"#include <{isa.header}>" if isa.header else "",
        *filter(None, [isa.preamble]),
        f"#define ES_LANES {lanes}",
        *_lane_lists(lanes),
        _SHUFFLE,
        _FENCE,
        _ROLLED,
        _IN_ORDER,
        f"typedef float es_v __attribute__((vector_size({4 * lanes})));",
        f"typedef int32_t es_m __attribute__((vector_size({4 * lanes})));",
        f"typedef float es_v_unaligned __attribute__((vector_size({4 * lanes}), aligned(4), may_alias));",
        f"typedef uint32_t es_u __attribute__((vector_size({4 * lanes})));",
        "typedef struct {\n    es_m low, high;\n} es_q;",
        f"typedef int16_t es_i16_pairs __attribute__((vector_size({4 * lanes})));",
        *(
            f"typedef {kind}8_t es_{kind[0]}8_pairs{suffix} __attribute__((vector_size({2 * lanes}){attributes}));"
            for kind in ("int", "uint")
            for suffix, attributes in (("", ""), ("_unaligned", ", aligned(1), may_alias"))
        ),
        *(_integer_type(name, lanes) for name in ("u8", "i8", "u16", "i16", "i32")),
        "",
    ]
    for name, primitive in VECTOR_PRIMITIVES.items():
        template = isa.instr.get(name)
        parameters = ", ".join(f"{kind}{arg}" for kind, arg in primitive.parameters)
        if template is None:
            body = primitive.fallback
        else:
            call = template.format(*(arg for _, arg in primitive.parameters))
            body = f"{call};" if primitive.result == "void" else f"return ({primitive.result}){call};"
        lines.append(f"ES_UNUSED static inline {primitive.result} es_{name}({parameters}) {{ {body} }}")
    return text + "\n" + "\n".join(lines) + "\n" + _TRANSPOSE + tile_layer(isa)


def _integer_type(name: str, lanes: int) -> str:
    element, size = ("int" if name[0] == "i" else "uint") + f"{name[1:]}_t", int(name[1:]) // 8
    head = f"typedef {element} es_{name}"
    aligned = f"aligned({size}), may_alias"
    return (
        f"{head} __attribute__((vector_size({lanes * size})));\n"
        f"{head}_unaligned __attribute__((vector_size({lanes * size}), {aligned}));"
    )


def _lane_lists(lanes: int) -> list[str]:
    """The lanes that the rearranging primitives choose, as arguments of ``ES_SHUFFLE``."""
    interleaved = [lane for pair in zip(range(lanes), range(lanes, 2 * lanes), strict=True) for lane in pair]
    lists = {
        "INTERLEAVE_LOW": interleaved[:lanes],
        "INTERLEAVE_HIGH": interleaved[lanes:],
        "EVEN": range(0, 2 * lanes, 2),
        "ODD": range(1, 2 * lanes, 2),
    }
    return [f"#define ES_{name} {', '.join(map(str, chosen))}" for name, chosen in lists.items()]
