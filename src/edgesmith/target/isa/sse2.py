"""SSE2: the baseline of x86-64; GNU vector extensions suffice."""

from edgesmith.target.isa import ISAS, Isa

_SHORTS = "_mm_adds_epi16(_mm_packs_epi32(_mm_cvtps_epi32({%d}), _mm_cvtps_epi32({%d})), _mm_set1_epi16((short){5}))"
_ROUNDED_FOUR = f"_mm_storeu_si128((__m128i *)(void *){{0}}, _mm_%s_epi16({_SHORTS % (1, 2)}, {_SHORTS % (3, 4)}))"

SSE2 = ISAS.register("sse2")(
    Isa(
        name="sse2",
        arch="x86_64",
        vector_bits=128,
        registers=16,
        header="emmintrin.h",
        cpuinfo=("sse2",),
        baseline=True,
        instr={
            "sqrt": "_mm_sqrt_ps({0})",
            "max": "_mm_max_ps({0}, {1})",
            "min": "_mm_min_ps({0}, {1})",
            "round_u8_4": _ROUNDED_FOUR % "packus",
            "round_i8_4": _ROUNDED_FOUR % "packs",
            "dot2": "_mm_add_epi32((__m128i){0}, _mm_madd_epi16((__m128i){1}, (__m128i){2}))",
        },
    )
)
