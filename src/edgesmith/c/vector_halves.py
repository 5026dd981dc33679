"""Functions of the vector layer on floats of 16 bits."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgesmith.c import meaning
from edgesmith.c.vector_primitive import VectorPrimitive, first_lanes, primitive

__all__ = ["bf16", "fp16"]


def bf16() -> dict[str, VectorPrimitive]:
    """Loads and stores of bf16, which is the upper half of an f32."""
    widened = "return (es_v)((es_u)__builtin_convertvector({0}, es_m) << 16);"
    narrowed = "__builtin_convertvector((es_u)v >> 16, es_u16)"
    some = f"es_u16 v = {{0}}; memcpy(&v, p, (size_t)n * sizeof(*p)); {widened.format('v')}"
    part = f"const es_u16 w = {narrowed}; memcpy(p, &w, (size_t)n * sizeof(*p));"
    return {
        "load_bf16": primitive(
            "es_v", "const uint16_t *p", widened.format("*(const es_u16_unaligned *)p"), meaning.from_bf16
        ),
        "load_bf16_n": primitive(
            "es_v", "const uint16_t *p, int32_t n", some, lambda p, n: first_lanes(n, meaning.from_bf16(p), 0.0)
        ),
        "store_bf16": primitive(
            "void", "uint16_t *p, es_v v", f"*(es_u16_unaligned *)p = {narrowed};", lambda p, v: meaning.bf16_bits(v)
        ),
        "store_bf16_n": primitive(
            "void", "uint16_t *p, es_v v, int32_t n", part, lambda p, v, n: first_lanes(n, meaning.bf16_bits(v), p)
        ),
        # Adding half a unit, less one where the last bit kept is even, carries into that bit; NaN becomes quiet.
        "round_bf16": primitive(
            "es_v",
            "es_v a",
            "const es_u bits = (es_u)a, nearest = bits + 0x7fff + ((bits >> 16) & 1); const es_m nan = a != a; "
            "return (es_v)((((nearest & ~(es_u)nan) | ((bits | 0x400000) & (es_u)nan))) & 0xffff0000u);",
            meaning.round_bf16,
        ),
    }


def fp16() -> dict[str, VectorPrimitive]:
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
        "load_f16": primitive(
            "es_v",
            "const uint16_t *p",
            f"const es_u u = __builtin_convertvector(*(const es_u16_unaligned *)p, es_u); {widened}",
            meaning.from_f16,
        ),
        "load_f16_n": primitive(
            "es_v",
            "const uint16_t *p, int32_t n",
            "uint16_t x[ES_LANES] = {0}; memcpy(x, p, (size_t)n * sizeof(*p)); return es_load_f16(x);",
            lambda p, n: first_lanes(n, meaning.from_f16(p), 0.0),
        ),
        "repeat_f16": primitive(
            "es_v",
            "const uint16_t *p",
            f"const es_u u = (uint32_t)*p - (es_u){{0}}; {widened}",
            lambda p: np.repeat(meaning.from_f16(p[:1]), p.size),
        ),
        "store_f16": primitive(
            "void",
            "uint16_t *p, es_v v",
            f"{narrowed}*(es_u16_unaligned *)p = w;",
            lambda p, v: meaning.f16_bits(v),
        ),
        "store_f16_n": primitive(
            "void",
            "uint16_t *p, es_v v, int32_t n",
            "uint16_t x[ES_LANES]; es_store_f16(x, v); memcpy(p, x, (size_t)n * sizeof(*p));",
            lambda p, v, n: first_lanes(n, meaning.f16_bits(v), p),
        ),
        # Below 2**-14 a sum with 0.5 has the unit of fp16; above, as for bf16, and what exceeds it is infinite.
        "round_f16": primitive(
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
        "pair_f16": primitive(
            "es_m",
            "const uint16_t *p",
            "return es_set1_i32((int32_t)((uint32_t)*p * 0x10001u));",
            lambda p: np.repeat(p[:1], 2 * p.size).view(np.int32),
        ),
        "low_f16": primitive("es_v", "es_m a", f"{two}return es_load_f16(x);", lambda a: meaning.from_f16(a, 0)),
        "high_f16": primitive(
            "es_v", "es_m a", f"{two}return es_load_f16(x + ES_LANES);", lambda a: meaning.from_f16(a, 1)
        ),
        "join_f16": primitive(
            "es_m",
            "es_v a, es_v b",
            "uint16_t x[2 * ES_LANES]; es_store_f16(x, es_round_f16(a)); es_store_f16(x + ES_LANES, es_round_f16(b)); "
            "es_m m; memcpy(&m, x, sizeof m); return m;",
            lambda a, b: meaning.f16_bits(np.concatenate([a, b])).view(np.int32),
        ),
        **{
            f"{name}_f16": primitive("es_m", "es_m a, es_m b", halves(template), partial(meaning.of_halves, numpy))
            for name, template, numpy in (
                ("add", "{0} + {1}", np.add),
                ("mul", "{0} * {1}", np.multiply),
                ("max", "es_max({0}, {1})", meaning.maximum),
                ("min", "es_min({0}, {1})", meaning.minimum),
            )
        },
        "mla_f16": primitive("es_m", "es_m c, es_m a, es_m b", halves("es_fma({0}, {1}, {2})"), meaning.mla_f16),
        "mla_f16_lane": primitive(
            "es_m",
            "es_m c, es_m a, es_m b, int32_t n",
            f"{two}return es_mla_f16(c, es_pair_f16(x + n), b);",
            lambda c, a, b, n: meaning.mla_f16(c, np.repeat(a.view(np.int16)[n], 2 * a.size).view(np.int32), b),
        ),
    }
