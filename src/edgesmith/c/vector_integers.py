"""Functions of the vector layer on integers: loads and stores, roundings, sums of products."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgesmith.c import meaning
from edgesmith.c.vector_primitive import VectorPrimitive, converted, first_lanes, primitive

__all__ = [
    "BYTE",
    "FOUR_PRODUCTS",
    "by_lane",
    "halves",
    "integers",
    "of_two_rows",
    "pairs",
    "quads",
    "rounded",
    "short_products",
]

BYTE = "((es_m)((es_u){} << (24 - i)) >> 24)"
"""Template of the signed byte that begins at bit i of each lane."""
FOUR_PRODUCTS = (
    "es_u sum = (es_u)c; for (int32_t i = 0; i < 32; i += 8) "
    f"{{{{ sum += (es_u)({{}} * {BYTE.format('b')}); }}}} return (es_m)sum;"
)
"""Template of c + the products of the bytes of a, given for bit i, with those of b; modulo 2**32."""


def integers() -> dict[str, VectorPrimitive]:
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
            f"load_{name}": primitive(lanes, f"const {element} *p", f"return {read};", partial(converted, number)),
            f"load_{name}_n": primitive(lanes, f"const {element} *p, int32_t n", some, partial(converted, number)),
            f"store_{name}": primitive("void", f"{element} *p, {lanes} v", write, lambda p, v: v.astype(p.dtype)),
            f"store_{name}_n": primitive(
                "void",
                f"{element} *p, {lanes} v, int32_t n",
                part,
                lambda p, v, n: first_lanes(n, v.astype(p.dtype), p),
            ),
        }
    return found


def rounded() -> dict[str, VectorPrimitive]:
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
                f"{kind}_{name}": primitive("void", f"{element} *p, es_v v, int32_t x", body, meaning.stored_rounded),
                f"{kind}_{name}_2": primitive(
                    "void",
                    f"{element} *p, es_v a, es_v v, int32_t x",
                    pair,
                    lambda p, a, v, x: meaning.stored_rounded(p, np.concatenate([a, v]), x),
                ),
                f"{kind}_{name}_4": primitive(
                    "void",
                    f"{element} *p, es_v a, es_v b, es_v c, es_v v, int32_t x",
                    bodies,
                    lambda p, a, b, c, v, x: meaning.stored_rounded(p, np.concatenate([a, b, c, v]), x),
                ),
            }
    return found


def halves(half: str, number: int) -> dict[str, VectorPrimitive]:
    """Products of bytes in half of the lanes, and sums of numbers of 16 bits in half of the lanes."""
    bytes_of = "int8_t x[4 * ES_LANES], y[4 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
    products = (
        "for (int32_t i = 0; i < 2 * ES_LANES; ++i) "
        f"{{ z[i] = (int16_t)(z[i] + x[i + {number} * 2 * ES_LANES] * y[i + {number} * 2 * ES_LANES]); }} "
    )
    return {
        f"mul_i8_{half}": primitive(
            "es_m",
            "es_m a, es_m b",
            f"{bytes_of}int16_t z[2 * ES_LANES] = {{0}}; {products}memcpy(&a, z, sizeof a); return a;",
            lambda a, b: meaning.byte_products(a, b, number).view(np.int32),
        ),
        f"mla_i8_{half}": primitive(
            "es_m",
            "es_m c, es_m a, es_m b",
            f"{bytes_of}int16_t z[2 * ES_LANES]; memcpy(z, &c, sizeof c); {products}memcpy(&c, z, sizeof c); return c;",
            lambda c, a, b: (c.view(np.int16) + meaning.byte_products(a, b, number)).view(np.int32),
        ),
        f"add_i16_{half}": primitive(
            "es_m",
            "es_m c, es_m a",
            "int16_t x[2 * ES_LANES]; memcpy(x, &a, sizeof a); for (int32_t i = 0; i < ES_LANES; ++i) "
            f"{{ c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)(int32_t)x[i + {number} * ES_LANES]); }} return c;",
            lambda c, a: c + a.view(np.int16).reshape(2, -1)[number],
        ),
    }


def short_products() -> dict[str, VectorPrimitive]:
    """Products of 16-bit numbers, and sums of them, that keep 16 bits."""
    numbers = "uint16_t x[2 * ES_LANES], y[2 * ES_LANES]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b); "
    each = "for (int32_t i = 0; i < 2 * ES_LANES; ++i) "
    return {
        "mul_i16": primitive(
            "es_m",
            "es_m a, es_m b",
            f"{numbers}{each}{{ x[i] = (uint16_t)((uint32_t)x[i] * y[i]); }} memcpy(&a, x, sizeof a); return a;",
            lambda a, b: (a.view(np.int16) * b.view(np.int16)).view(np.int32),
        ),
        "mla_i16": primitive(
            "es_m",
            "es_m c, es_m a, es_m b",
            f"{numbers}uint16_t z[2 * ES_LANES]; memcpy(z, &c, sizeof c); "
            f"{each}{{ z[i] = (uint16_t)(z[i] + (uint32_t)x[i] * y[i]); }} memcpy(&c, z, sizeof c); return c;",
            lambda c, a, b: (c.view(np.int16) + a.view(np.int16) * b.view(np.int16)).view(np.int32),
        ),
    }


def by_lane() -> dict[str, VectorPrimitive]:
    """Products of bytes with one lane."""
    meanings = {"dot4": meaning.dot4, "dot4_i8": meaning.dot4_i8, "dot4_planes": meaning.dot4_planes}

    def repeated(dot: Callable[..., np.ndarray], c: np.ndarray, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
        return dot(c, np.full_like(a, a[n]), b)

    return {
        f"{name}_lane": primitive(
            "es_m",
            "es_m c, es_m a, es_m b, int32_t n",
            f"return es_{name}(c, es_set1_i32(a[n]), b);",
            partial(repeated, dot),
        )
        for name, dot in meanings.items()
    }


def of_two_rows() -> dict[str, VectorPrimitive]:
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
        "two_u8": primitive(
            "es_m",
            "const uint8_t *a, const uint8_t *b",
            "uint8_t x[4 * ES_LANES]; for (int32_t k = 0; k < 4 * ES_LANES; ++k) "
            "{ x[k] = (k % 16 < 8 ? a : b)[k % 8]; } es_m m; memcpy(&m, x, sizeof m); return m;",
            meaning.two_rows,
        ),
        "dot8_pairs": primitive("es_m", "es_m c, es_m a, es_m b", products, meaning.dot8_pairs),
    }


def quads() -> dict[str, VectorPrimitive]:
    """Products of single bytes, and of four 16-bit numbers a lane in two registers."""
    pair = "(int32_t)((uint32_t)(uint16_t)p[4 * i + {}] | (uint32_t)p[4 * i + {}] << 16)"
    halves = f"q.low[i] = {pair.format(0, 2)}; q.high[i] = {pair.format(1, 3)};"
    sum_of_products = "return es_dot2(es_dot2(c, a.low, b.low), a.high, b.high);"
    return {
        "one_i8": primitive("es_m", "const int8_t *p", "return es_set1_i32(*p);", lambda p: p[:1].astype(np.int32)),
        "one_u8": primitive("es_m", "const uint8_t *p", "return es_set1_i32(*p);", lambda p: p[:1].astype(np.int32)),
        "each_i8": primitive(
            "es_m",
            "const int8_t *p",
            "return __builtin_convertvector(*(const es_i8_unaligned *)p, es_m);",
            partial(converted, np.int32),
        ),
        "dot1": primitive(
            "es_m", "es_m c, es_m a, es_m b", "return (es_m)((es_u)c + (es_u)a * (es_u)b);", meaning.dot1
        ),
        "quad_i16": primitive(
            "es_q", "const int16_t *p", "const es_q q = {es_pair(p), es_pair(p + 2)}; return q;", meaning.quad_i16
        ),
        "halves_i8": primitive(
            "es_q",
            "const int8_t *p",
            f"es_q q = {{{{0}}, {{0}}}}; for (int32_t i = 0; i < ES_LANES; ++i) {{ {halves} }} return q;",
            meaning.halves,
        ),
        "dot4_i16": primitive("es_m", "es_m c, es_q a, es_q b", sum_of_products, meaning.dot4_i16),
    }


def pairs(name: str) -> dict[str, VectorPrimitive]:
    """Loads of bytes as pairs of i16."""
    element = ("int" if name[0] == "i" else "uint") + f"{name[1:]}_t"
    widened = "return (es_m)__builtin_convertvector({0}, es_i16_pairs);"
    some = f"es_{name}_pairs v = {{0}}; memcpy(&v, p, (size_t)n); {widened.format('v')}"

    def first(p: np.ndarray, n: int | None = None) -> np.ndarray:
        return first_lanes(p.size if n is None else n, p.astype(np.int16), 0).view(np.int32)

    return {
        f"pairs_{name}": primitive(
            "es_m", f"const {element} *p", widened.format(f"*(const es_{name}_pairs_unaligned *)p"), first
        ),
        f"pairs_{name}_n": primitive("es_m", f"const {element} *p, int32_t n", some, first),
    }
