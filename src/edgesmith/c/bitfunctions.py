"""Functions that handle bits or loop, written in C."""

from __future__ import annotations

__all__ = ["BIT_FUNCTIONS"]

_EXP2_BIASED_F64 = """ES_UNUSED static inline double es_exp2_biased_f64(const double a) {
    uint64_t bits;
    double x;
    memcpy(&bits, &a, sizeof bits);
    bits <<= 52;
    memcpy(&x, &bits, sizeof x);
    return x;
}
"""

_EXPONENT_F64 = """ES_UNUSED static inline double es_exponent_f64(const double a) {
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    return (double)(int32_t)((bits >> 52) & 0x7ffu) - 1023.0;
}
"""

_SIGNIFICAND_F64 = """ES_UNUSED static inline double es_significand_f64(const double a) {
    uint64_t bits;
    double x;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x3ff0000000000000);
    memcpy(&x, &bits, sizeof x);
    return x;
}
"""

_POW_I64 = """ES_UNUSED static inline int64_t es_pow_i64(const int64_t a, const int64_t b) {
    uint64_t power = 1, factor = (uint64_t)a;
    if (b < 0) {
        return a == 1 ? 1 : a == -1 ? 1 - 2 * (b & 1) : 0;
    }
    for (uint64_t rest = (uint64_t)b; rest != 0; rest >>= 1) {
        power *= (rest & 1u) ? factor : 1u;
        factor *= factor;
    }
    return (int64_t)power;
}
"""

_QUARTER_TURNS = """\
/* x * 2 / pi modulo 4, from -2 to 2: the significand times the bits of 2 / pi that matter (Payne and Hanek, 1983). */
ES_UNUSED static inline double es_quarter_turns_f32(const float x) {
    static const uint32_t two_over_pi[8] = {0, 0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                            0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
    uint32_t bits, w[3];
    memcpy(&bits, &x, sizeof bits);
    const uint32_t exponent = (bits >> 23) & 0xffu;
    if (exponent < 127u) {
        return (double)x * 0.63661977236758134308;
    }
    if (exponent == 255u) {
        return (double)(x - x);
    }
    const uint32_t first = (exponent - 120u) >> 5, shift = (exponent - 120u) & 31u;
    for (uint32_t k = 0; k < 3u; ++k) {
        const uint64_t pair = (uint64_t)two_over_pi[first + k] << 32 | two_over_pi[first + k + 1u];
        w[k] = (uint32_t)(pair << shift >> 32);
    }
    const uint64_t m = (bits & 0x7fffffu) | 0x800000u;
    const uint64_t turns = (m * w[0] << 32) + m * w[1] + (m * w[2] >> 32);
    const double signed_turns = (double)(int64_t)turns * 0x1p-62;
    return (bits >> 31) ? -signed_turns : signed_turns;
}
"""

_NARROW_F64 = """\
/* To fp16, to nearest, ties to even; NaN stays a quiet NaN. */
ES_UNUSED static inline uint16_t es_narrow_f64(const double x) {
    uint64_t bits, result;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t sign = (bits >> 48) & 0x8000u, magnitude = bits & UINT64_C(0x7fffffffffffffff);
    if (magnitude > UINT64_C(0x7ff0000000000000)) {
        result = 0x7e00u | ((magnitude >> 42) & 0x1ffu);
    } else if (magnitude >= UINT64_C(0x40effe0000000000)) {
        result = 0x7c00u;
    } else if (magnitude >= UINT64_C(0x3f10000000000000)) {
        const uint64_t half = (UINT64_C(1) << 41) - 1u + ((magnitude >> 42) & 1u);
        result = (magnitude - UINT64_C(0x3f00000000000000) + half) >> 42;
    } else {
        result = (uint64_t)rint(fabs(x) * 0x1p24);
    }
    return (uint16_t)(sign | result);
}
"""

BIT_FUNCTIONS: dict[str, str] = {
    "exp2_biased_f64": _EXP2_BIASED_F64,
    "exponent_f64": _EXPONENT_F64,
    "significand_f64": _SIGNIFICAND_F64,
    "pow_i64": _POW_I64,
    "quarter_turns": _QUARTER_TURNS,
    "narrow_f64": _NARROW_F64,
}
"""By name as in ``mathfunctions``."""
