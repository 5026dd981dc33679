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
``ES_SETTLED(c)``   a statement behind which the compiler has computed c, an ``es_m`` of one lane, and not later
==================  ==================================================================================
"""

from __future__ import annotations

import numpy as np

from edgesmith.c import meaning
from edgesmith.c.tiles import tile_layer
from edgesmith.c.vector_halves import bf16, fp16
from edgesmith.c.vector_integers import (
    BYTE,
    FOUR_PRODUCTS,
    by_lane,
    halves,
    integers,
    of_two_rows,
    pairs,
    quads,
    rounded,
    short_products,
)
from edgesmith.c.vector_primitive import VectorPrimitive, first_lanes, primitive
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

_SETTLED = '#define ES_SETTLED(c) __asm__ volatile("" : "+r"(c))'

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


def _lane_by_lane(function: str) -> str:
    return f"for (int32_t i = 0; i < ES_LANES; ++i) {{ a[i] = {function}(a[i]); }} return a;"


def _interleaved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], 1).reshape(-1)


_ZIPPED = (
    "const es_m m = __builtin_convertvector(*(const es_{0}_unaligned *)a, es_m); "
    "const es_m n = __builtin_convertvector(*(const es_{0}_unaligned *)b, es_m); "
    "return (m & 0xffff) | (es_m)((es_u)n << 16);"
)
_COPIED = "es_m m; memcpy(&m, p, sizeof m); return m;"
_REPEATED = "int32_t x; memcpy(&x, p, sizeof x); return es_set1_i32(x);"

VECTOR_PRIMITIVES: dict[str, VectorPrimitive] = {
    "load": primitive("es_v", "const float *p", "return *(const es_v_unaligned *)p;", lambda p: p),
    "store": primitive("void", "float *p, es_v v", "*(es_v_unaligned *)p = v;", lambda p, v: v),
    "load_n": primitive(
        "es_v",
        "const float *p, int32_t n",
        "es_v v = {0.0f}; memcpy(&v, p, (size_t)n * sizeof(float)); return v;",
        lambda p, n: first_lanes(n, p, 0.0),
    ),
    "store_n": primitive(
        "void",
        "float *p, es_v v, int32_t n",
        "memcpy(p, &v, (size_t)n * sizeof(float));",
        lambda p, v, n: first_lanes(n, v, p),
    ),
    **integers(),
    **bf16(),
    "set1_i32": primitive("es_m", "int32_t x", "return x - (es_m){0};", lambda x: x),
    **pairs("u8"),
    **pairs("i8"),
    "pairs_i16": primitive("es_m", "const int16_t *p", _COPIED, lambda p: p.view(np.int32)),
    "store_pairs_i16": primitive(
        "void", "int16_t *p, es_m a", "memcpy(p, &a, sizeof a);", lambda p, a: a.view(np.int16)
    ),
    "quads_i8": primitive("es_m", "const int8_t *p", _COPIED, lambda p: p.view(np.int32)),
    "quads_u8": primitive("es_m", "const uint8_t *p", _COPIED, lambda p: p.view(np.int32)),
    "zip_u8": primitive("es_m", "const uint8_t *a, const uint8_t *b", _ZIPPED.format("u8"), meaning.zipped),
    "zip_i16": primitive("es_m", "const int16_t *a, const int16_t *b", _ZIPPED.format("i16"), meaning.zipped),
    "zip_i8": primitive("es_m", "const int8_t *a, const int8_t *b", _ZIPPED.format("i8"), meaning.zipped),
    "pair": primitive("es_m", "const int16_t *p", _REPEATED, lambda p: p[:2].view(np.int32)),
    "quad": primitive("es_m", "const uint8_t *p", _REPEATED, lambda p: p[:4].view(np.int32)),
    "quad_i8": primitive("es_m", "const int8_t *p", _REPEATED, lambda p: p[:4].view(np.int32)),
    "dot2": primitive(
        "es_m",
        "es_m c, es_m a, es_m b",
        "const es_m low = ((es_m)((es_u)a << 16) >> 16) * ((es_m)((es_u)b << 16) >> 16); "
        "return (es_m)((es_u)c + (es_u)low + (es_u)((a >> 16) * (b >> 16)));",
        meaning.dot2,
    ),
    "dot2_planes": primitive(
        "es_m",
        "es_m c, es_m a, es_m b",
        "int16_t x[2 * ES_LANES], y[2 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
        "for (int32_t i = 0; i < ES_LANES; ++i) { c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)(x[2 * i] * y[i]) "
        "+ (uint32_t)(x[2 * i + 1] * y[i + ES_LANES])); } return c;",
        meaning.dot2_planes,
    ),
    "dot4": primitive("es_m", "es_m c, es_m a, es_m b", FOUR_PRODUCTS.format("((a >> i) & 255)"), meaning.dot4),
    "dot4_i8": primitive("es_m", "es_m c, es_m a, es_m b", FOUR_PRODUCTS.format(BYTE.format("a")), meaning.dot4_i8),
    "dot4_planes": primitive(
        "es_m",
        "es_m c, es_m a, es_m b",
        "int8_t x[4 * ES_LANES], y[4 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
        "for (int32_t i = 0; i < ES_LANES; ++i) { int32_t sum = 0; for (int32_t j = 0; j < 4; ++j) "
        "{ sum += x[4 * i + j] * y[(j & 2) * ES_LANES + 2 * i + (j & 1)]; } "
        "c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)sum); } return c;",
        meaning.dot4_planes,
    ),
    **by_lane(),
    **quads(),
    **of_two_rows(),
    **halves("low", 0),
    **halves("high", 1),
    **short_products(),
    "shuffle16": primitive(
        "es_m",
        "const uint8_t *p, es_m a",
        "int8_t b[4 * ES_LANES]; memcpy(b, &a, sizeof a); "
        "for (int32_t i = 0; i < 4 * ES_LANES; ++i) { b[i] = (int8_t)(b[i] < 0 ? 0 : p[b[i] & 15]); } "
        "memcpy(&a, b, sizeof a); return a;",
        lambda p, a: np.where(a.view(np.int8) < 0, 0, p[a.view(np.int8) & 15]).astype(np.uint8).view(np.int32),
    ),
    "minus16": primitive(
        "es_m",
        "es_m a",
        "int8_t b[4 * ES_LANES]; memcpy(b, &a, sizeof a); "
        "for (int32_t i = 0; i < 4 * ES_LANES; ++i) { b[i] = (int8_t)(b[i] < -112 ? -128 : b[i] - 16); } "
        "memcpy(&a, b, sizeof a); return a;",
        lambda a: np.maximum(a.view(np.int8).astype(np.int16) - 16, -128).astype(np.int8).view(np.int32),
    ),
    "from_i32": primitive("es_v", "es_m a", "return __builtin_convertvector(a, es_v);", lambda a: a.astype(np.float32)),
    "to_i32": primitive("es_m", "es_v a", "return __builtin_convertvector(a, es_m);", lambda a: a.astype(np.int32)),
    "set1": primitive("es_v", "float x", "return x - (es_v){0.0f};", lambda x: x),
    "first": primitive(
        "es_m",
        "int32_t n",
        "es_m m; for (int32_t i = 0; i < ES_LANES; ++i) { m[i] = i < n ? -1 : 0; } return m;",
        lambda n: np.arange(64) < n,
    ),
    "fma": primitive("es_v", "es_v a, es_v b, es_v c", "return a * b + c;", meaning.fma),
    "fma_lane": primitive(
        "es_v",
        "es_v a, es_v b, es_v c, int32_t n",
        "return es_fma(a, es_set1(b[n]), c);",
        lambda a, b, c, n: meaning.fma(a, b[n], c),
    ),
    "select": primitive("es_v", "es_m m, es_v a, es_v b", "return (es_v)(((es_m)a & m) | ((es_m)b & ~m));", np.where),
    "max": primitive("es_v", "es_v a, es_v b", "return es_select(a > b, a, b);", meaning.maximum),
    "max_number": primitive("es_v", "es_v a, es_v b", "return es_select((a > b) | (b != b), a, b);", np.fmax),
    "min": primitive("es_v", "es_v a, es_v b", "return es_select(a < b, a, b);", meaning.minimum),
    "abs": primitive("es_v", "es_v a", "return (es_v)((es_m)a & 0x7fffffff);", np.abs),
    "copysign": primitive(
        "es_v",
        "es_v a, es_v b",
        "return (es_v)(((es_m)a & 0x7fffffff) | ((es_m)b & ~0x7fffffff));",
        np.copysign,
    ),
    "sqrt": primitive("es_v", "es_v a", _lane_by_lane("sqrtf"), np.sqrt),
    "floor": primitive("es_v", "es_v a", _lane_by_lane("floorf"), np.floor),
    "ceil": primitive("es_v", "es_v a", _lane_by_lane("ceilf"), np.ceil),
    "rint": primitive("es_v", "es_v a", _lane_by_lane("rintf"), np.rint),
    **rounded(),
    "exp2_biased": primitive("es_v", "es_v a", "return (es_v)((es_m)a << 23);", meaning.exp2_biased),
    "exponent": primitive(
        "es_v",
        "es_v a",
        "return __builtin_convertvector((((es_m)a >> 23) & 0xff) - 127, es_v);",
        lambda a: np.floor(np.log2(a)),
    ),
    "significand": primitive(
        "es_v", "es_v a", "return (es_v)(((es_m)a & 0x7fffff) | 0x3f800000);", lambda a: np.frexp(a)[0] * 2
    ),
    "interleave_low": primitive(
        "es_v",
        "es_v a, es_v b",
        "return ES_SHUFFLE(a, b, ES_INTERLEAVE_LOW);",
        lambda a, b: _interleaved(a, b)[: a.size],
    ),
    "interleave_high": primitive(
        "es_v",
        "es_v a, es_v b",
        "return ES_SHUFFLE(a, b, ES_INTERLEAVE_HIGH);",
        lambda a, b: _interleaved(a, b)[a.size :],
    ),
    "even": primitive(
        "es_v", "es_v a, es_v b", "return ES_SHUFFLE(a, b, ES_EVEN);", lambda a, b: np.concatenate([a, b])[::2]
    ),
    "odd": primitive(
        "es_v", "es_v a, es_v b", "return ES_SHUFFLE(a, b, ES_ODD);", lambda a, b: np.concatenate([a, b])[1::2]
    ),
    # Neighbours are combined until every lane holds the result.
    "sum": primitive(
        "float",
        "es_v a",
        "for (int32_t n = ES_LANES; n > 1; n /= 2) { a = es_even(a, a) + es_odd(a, a); } return a[0];",
        np.sum,
    ),
    "reduce_max": primitive(
        "float",
        "es_v a",
        "for (int32_t n = ES_LANES; n > 1; n /= 2) { a = es_max(es_even(a, a), es_odd(a, a)); } return a[0];",
        np.max,
    ),
    **fp16(),
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
        *([_SETTLED] if lanes == 1 else []),
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
    for name, function in VECTOR_PRIMITIVES.items():
        template = isa.instr.get(name)
        parameters = ", ".join(f"{kind}{arg}" for kind, arg in function.parameters)
        if template is None:
            body = function.fallback
        else:
            call = template.format(*(arg for _, arg in function.parameters))
            body = f"{call};" if function.result == "void" else f"return ({function.result}){call};"
        lines.append(f"ES_UNUSED static inline {function.result} es_{name}({parameters}) {{ {body} }}")
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
