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
``es_set1(x)``      x in all lanes
``es_fma(a,b,c)``   a * b + c, fused where the instruction set can
==================  ==================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.target import Target

__all__ = ["INCLUDES", "VECTOR_PRIMITIVES", "VectorPrimitive", "header"]

INCLUDES = "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"

_UNUSED = """#if defined(__GNUC__)
#define ES_UNUSED __attribute__((unused))
#else
#define ES_UNUSED
#endif
"""


@dataclass(frozen=True)
class VectorPrimitive:
    """A function of the vector layer: C signature and the body used when the ISA has no instruction for it."""

    result: str
    parameters: tuple[tuple[str, str], ...]
    fallback: str


def _p(result: str, parameters: str, fallback: str) -> VectorPrimitive:
    pairs = tuple(
        (p.strip().rstrip("abcmnpvx"), p.strip().rpartition(" ")[2].lstrip("*")) for p in parameters.split(",")
    )
    return VectorPrimitive(result, pairs, fallback)


VECTOR_PRIMITIVES: dict[str, VectorPrimitive] = {
    "load": _p("es_v", "const float *p", "return *(const es_v_unaligned *)p;"),
    "store": _p("void", "float *p, es_v v", "*(es_v_unaligned *)p = v;"),
    "load_n": _p(
        "es_v", "const float *p, int32_t n", "es_v v = {0.0f}; memcpy(&v, p, (size_t)n * sizeof(float)); return v;"
    ),
    "store_n": _p("void", "float *p, es_v v, int32_t n", "memcpy(p, &v, (size_t)n * sizeof(float));"),
    "set1": _p("es_v", "float x", "return x - (es_v){0.0f};"),
    "fma": _p("es_v", "es_v a, es_v b, es_v c", "return a * b + c;"),
    "select": _p("es_v", "es_m m, es_v a, es_v b", "return (es_v)(((es_m)a & m) | ((es_m)b & ~m));"),
    "max": _p("es_v", "es_v a, es_v b", "return es_select(a > b, a, b);"),
    "min": _p("es_v", "es_v a, es_v b", "return es_select(a < b, a, b);"),
    "abs": _p("es_v", "es_v a", "return (es_v)((es_m)a & 0x7fffffff);"),
    "copysign": _p("es_v", "es_v a, es_v b", "return (es_v)(((es_m)a & 0x7fffffff) | ((es_m)b & ~0x7fffffff));"),
    "sqrt": _p("es_v", "es_v a", "for (int32_t i = 0; i < ES_LANES; ++i) { a[i] = sqrtf(a[i]); } return a;"),
    "floor": _p("es_v", "es_v a", "for (int32_t i = 0; i < ES_LANES; ++i) { a[i] = floorf(a[i]); } return a;"),
    "ceil": _p("es_v", "es_v a", "for (int32_t i = 0; i < ES_LANES; ++i) { a[i] = ceilf(a[i]); } return a;"),
    "rint": _p("es_v", "es_v a", "for (int32_t i = 0; i < ES_LANES; ++i) { a[i] = rintf(a[i]); } return a;"),
    "exp2i": _p("es_v", "es_v n", "return (es_v)(((es_m)(n + 12582912.0f) + 127) << 23);"),
    "exponent": _p("es_v", "es_v a", "return __builtin_convertvector((((es_m)a >> 23) & 0xff) - 127, es_v);"),
    "significand": _p("es_v", "es_v a", "return (es_v)(((es_m)a & 0x7fffff) | 0x3f800000);"),
    "sum": _p("float", "es_v a", "float s = a[0]; for (int32_t i = 1; i < ES_LANES; ++i) { s += a[i]; } return s;"),
    "reduce_max": _p(
        "float",
        "es_v a",
        "float s = a[0]; for (int32_t i = 1; i < ES_LANES; ++i) { s = a[i] > s ? a[i] : s; } return s;",
    ),
}

_SCALAR = """
ES_UNUSED static inline float es_exp2i_f32(const float n) {
    const float shifted = n + 12582912.0f;
    uint32_t bits;
    float x;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127u) << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ES_UNUSED static inline float es_exponent_f32(const float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return (float)(int32_t)((bits >> 23) & 0xffu) - 127.0f;
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
    text = INCLUDES + _UNUSED + _SCALAR
    if isa is None:
        return text
    lanes = target.lanes
    lines = [
        f"#include <{isa.header}>" if isa.header else "",
        f"#define ES_LANES {lanes}",
        f"typedef float es_v __attribute__((vector_size({4 * lanes})));",
        f"typedef int32_t es_m __attribute__((vector_size({4 * lanes})));",
        f"typedef float es_v_unaligned __attribute__((vector_size({4 * lanes}), aligned(4), may_alias));",
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
    return text + "\n" + "\n".join(lines) + "\n"
