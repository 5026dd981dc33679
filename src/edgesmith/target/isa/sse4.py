"""SSE4.1 with SSSE3: roundings, selections, shuffles of bytes (Intel Penryn, AMD Bulldozer and Jaguar, and later)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.sse2 import SSE2

_ENTRIES = "_mm_loadu_si128((const __m128i *)(const void *){0})"


def _zipped(kind: str) -> str:
    """Four bytes from either of two addresses, in turn, as 16-bit numbers."""
    loads = "int32_t x, y; memcpy(&x, {0}, 4); memcpy(&y, {1}, 4);"
    return f"({{{{ {loads} _mm_cvtep{kind}_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(x), _mm_cvtsi32_si128(y))); }}}})"


def _rounded(narrow: str) -> str:
    """A store of four floats as bytes."""
    integers = "_mm_cvtps_epi32({1})"
    shorts = f"_mm_adds_epi16(_mm_packs_epi32({integers}, _mm_setzero_si128()), _mm_set1_epi16((short){{2}}))"
    return (
        f"const int32_t w = _mm_cvtsi128_si32(_mm_{narrow}_epi16({shorts}, _mm_setzero_si128())); memcpy({{0}}, &w, 4)"
    )


SSE4 = ISAS.register("sse4")(
    Isa(
        name="sse4",
        arch="x86_64",
        vector_bits=128,
        registers=16,
        features=("ssse3", "sse4.1"),
        implies=("sse2",),
        header="smmintrin.h",
        cpuinfo=("ssse3", "sse4_1"),
        detect=("es_cpuid(1, ES_ECX, 9)", "es_cpuid(1, ES_ECX, 19)"),
        instr={
            **SSE2.instr,
            "zip_u8": _zipped("u8"),
            "zip_i8": _zipped("i8"),
            "shuffle16": f"_mm_shuffle_epi8({_ENTRIES}, (__m128i){{1}})",
            "minus16": "_mm_subs_epi8((__m128i){0}, _mm_set1_epi8(16))",
            "floor": "_mm_floor_ps({0})",
            "ceil": "_mm_ceil_ps({0})",
            "rint": "_mm_round_ps({0}, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)",
            "round_u8": _rounded("packus"),
            "round_i8": _rounded("packs"),
            "select": "_mm_blendv_ps({2}, {1}, (__m128){0})",
        },
    )
)
