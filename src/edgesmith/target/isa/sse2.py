"""SSE2: the baseline of x86-64; GNU vector extensions suffice."""

from edgesmith.target.isa import ISAS, Isa

SSE2 = ISAS.register("sse2")(
    Isa(
        name="sse2",
        arch="x86_64",
        vector_bits=128,
        registers=16,
        header="emmintrin.h",
        cpuinfo=("sse2",),
        instr={
            "sqrt": "_mm_sqrt_ps({0})",
            "max": "_mm_max_ps({0}, {1})",
            "min": "_mm_min_ps({0}, {1})",
            "dot2": "_mm_add_epi32((__m128i){0}, _mm_madd_epi16((__m128i){1}, (__m128i){2}))",
        },
    )
)
