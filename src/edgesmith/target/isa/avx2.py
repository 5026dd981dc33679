"""AVX2 with FMA3 (x86-64-v3)."""

from edgesmith.target.isa import ISAS, Isa

_TAIL_MASK = "_mm256_cmpgt_epi32(_mm256_set1_epi32({n}), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))"
_ENTRIES = "_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *){0}))"

_INTEGERS = "_mm256_cvtps_epi32({%d})"
_SHORTS = "_mm256_adds_epi16(_mm256_packs_epi32(%s, %s), _mm256_set1_epi16((short){5}))"
_PAIRS = (_SHORTS % (_INTEGERS % 1, _INTEGERS % 2), _SHORTS % (_INTEGERS % 3, _INTEGERS % 4))
_IN_ORDER = "_mm256_permutevar8x32_epi32(%s, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))"
_ROUNDED_FOUR = f"_mm256_storeu_si256((__m256i *)(void *){{0}}, {_IN_ORDER % '_mm256_%s_epi16(%s, %s)'})"
_HALVES = f"_mm256_castsi256_si128({_INTEGERS % 1}), _mm256_extracti128_si256({_INTEGERS % 1}, 1)"
_EIGHT = f"_mm_adds_epi16(_mm_packs_epi32({_HALVES}), _mm_set1_epi16((short){{2}}))"
_ROUNDED = f"_mm_storel_epi64((__m128i *)(void *){{0}}, _mm_%s_epi16({_EIGHT}, _mm_setzero_si128()))"

_BYTES = "_mm_loadl_epi64((const __m128i *)(const void *){%d})"
_ZIPPED = f"_mm_unpacklo_epi8({_BYTES % 0}, {_BYTES % 1})"

AVX2 = ISAS.register("avx2")(
    Isa(
        name="avx2",
        arch="x86_64",
        vector_bits=256,
        registers=16,
        features=("avx2", "fma", "f16c", "bmi2"),
        implies=("sse4",),
        header="immintrin.h",
        cpuinfo=("avx2", "fma", "f16c", "bmi2"),
        detect=(
            *("es_cpuid(7, ES_EBX, 5)", "es_cpuid(7, ES_EBX, 8)"),
            *("es_cpuid(1, ES_ECX, 12)", "es_cpuid(1, ES_ECX, 29)"),
            "es_saves(0x6)",
        ),
        instr={
            "zip_u8": f"_mm256_cvtepu8_epi16({_ZIPPED})",
            "zip_i8": f"_mm256_cvtepi8_epi16({_ZIPPED})",
            "shuffle16": f"_mm256_shuffle_epi8({_ENTRIES}, (__m256i){{1}})",
            "minus16": "_mm256_subs_epi8((__m256i){0}, _mm256_set1_epi8(16))",
            "dot2": "_mm256_add_epi32((__m256i){0}, _mm256_madd_epi16((__m256i){1}, (__m256i){2}))",
            "fma": "_mm256_fmadd_ps({0}, {1}, {2})",
            "max": "_mm256_max_ps({0}, {1})",
            "min": "_mm256_min_ps({0}, {1})",
            "sqrt": "_mm256_sqrt_ps({0})",
            "floor": "_mm256_floor_ps({0})",
            "ceil": "_mm256_ceil_ps({0})",
            "rint": "_mm256_round_ps({0}, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)",
            "round_u8": _ROUNDED % "packus",
            "round_i8": _ROUNDED % "packs",
            "round_u8_4": _ROUNDED_FOUR % ("packus", *_PAIRS),
            "round_i8_4": _ROUNDED_FOUR % ("packs", *_PAIRS),
            "select": "_mm256_blendv_ps({2}, {1}, (__m256){0})",
            "first": _TAIL_MASK.format(n="{0}"),
            "load_n": f"_mm256_maskload_ps({{0}}, {_TAIL_MASK.format(n='{1}')})",
            "store_n": f"_mm256_maskstore_ps({{0}}, {_TAIL_MASK.format(n='{2}')}, {{1}})",
        },
    )
)
