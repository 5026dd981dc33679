"""AVX-512 with VNNI: products of bytes summed without saturation (Ice Lake, Zen 4 and later)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.avx512 import AVX512

AVX512VNNI = ISAS.register("avx512vnni")(
    Isa(
        name="avx512vnni",
        arch="x86_64",
        vector_bits=512,
        registers=32,
        features=("avx512vnni",),
        implies=("avx512",),
        header="immintrin.h",
        cpuinfo=("avx512_vnni", *AVX512.cpuinfo),
        detect=("es_cpuid(7, ES_ECX, 11)",),
        instr={
            **AVX512.instr,
            "dot2": "_mm512_dpwssd_epi32((__m512i){0}, (__m512i){1}, (__m512i){2})",
            "dot4": "_mm512_dpbusd_epi32((__m512i){0}, (__m512i){1}, (__m512i){2})",
        },
    )
)
