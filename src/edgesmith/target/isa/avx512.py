"""AVX-512 F, BW, DQ and VL (x86-64-v4)."""

from edgesmith.target.isa import ISAS, Isa

_TAIL_MASK = "(__mmask16)((1u << {n}) - 1u)"
_ENTRIES = "_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *){0}))"

_INTEGERS = "_mm512_cvtps_epi32({%d})"
_LIMITED = f"_mm512_max_epi32({_INTEGERS % 1}, _mm512_set1_epi32(-(1 << 30)))"
"""What is below every i32 became the least one, less than which there is none."""
_PLUS = f"_mm512_add_epi32({_LIMITED}, _mm512_set1_epi32({{2}}))"
_ROUNDED = "_mm_storeu_si128((__m128i *)(void *){0}, _mm512_cvt%sepi32_epi8(%s))"
_SHORTS = "_mm512_adds_epi16(_mm512_packs_epi32(%s, %s), _mm512_set1_epi16((short){5}))"
_PAIRS = (_SHORTS % (_INTEGERS % 1, _INTEGERS % 2), _SHORTS % (_INTEGERS % 3, _INTEGERS % 4))
_ORDER = ", ".join(str(4 * lane + vector) for vector in range(4) for lane in range(4))
_ROUNDED_FOUR = (
    "_mm512_storeu_si512((void *){0}, "
    f"_mm512_permutexvar_epi32(_mm512_setr_epi32({_ORDER}), _mm512_%s_epi16(%s, %s)))"
)

_BYTES = "_mm_loadu_si128((const __m128i *)(const void *){%d})"
_HALVES = [f"_mm_unpack{half}_epi8({_BYTES % 0}, {_BYTES % 1})" for half in ("hi", "lo")]
_ZIPPED = f"_mm256_set_m128i({', '.join(_HALVES)})"

AVX512 = ISAS.register("avx512")(
    Isa(
        name="avx512",
        arch="x86_64",
        vector_bits=512,
        registers=32,
        features=("avx512f", "avx512bw", "avx512dq", "avx512vl"),
        implies=("avx2",),
        header="immintrin.h",
        cpuinfo=("avx512f", "avx512bw", "avx512dq", "avx512vl"),
        detect=(*(f"es_cpuid(7, ES_EBX, {bit})" for bit in (16, 30, 17, 31)), "es_saves(0xe6)"),
        instr={
            "zip_u8": f"_mm512_cvtepu8_epi16({_ZIPPED})",
            "zip_i8": f"_mm512_cvtepi8_epi16({_ZIPPED})",
            "shuffle16": f"_mm512_shuffle_epi8({_ENTRIES}, (__m512i){{1}})",
            "minus16": "_mm512_subs_epi8((__m512i){0}, _mm512_set1_epi8(16))",
            "dot2": "_mm512_add_epi32((__m512i){0}, _mm512_madd_epi16((__m512i){1}, (__m512i){2}))",
            "fma": "_mm512_fmadd_ps({0}, {1}, {2})",
            "max": "_mm512_max_ps({0}, {1})",
            "min": "_mm512_min_ps({0}, {1})",
            "sqrt": "_mm512_sqrt_ps({0})",
            "floor": "_mm512_roundscale_ps({0}, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)",
            "ceil": "_mm512_roundscale_ps({0}, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)",
            "rint": "_mm512_roundscale_ps({0}, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)",
            "round_u8": _ROUNDED % ("us", f"_mm512_max_epi32({_PLUS}, _mm512_setzero_si512())"),
            "round_i8": _ROUNDED % ("s", _PLUS),
            "round_u8_4": _ROUNDED_FOUR % ("packus", *_PAIRS),
            "round_i8_4": _ROUNDED_FOUR % ("packs", *_PAIRS),
            "select": "_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i){0}), {2}, {1})",
            "first": f"_mm512_movm_epi32({_TAIL_MASK.format(n='{0}')})",
            "load_n": f"_mm512_maskz_loadu_ps({_TAIL_MASK.format(n='{1}')}, {{0}})",
            "store_n": f"_mm512_mask_storeu_ps({{0}}, {_TAIL_MASK.format(n='{2}')}, {{1}})",
        },
    )
)
