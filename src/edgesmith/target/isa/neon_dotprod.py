"""NEON with FEAT_DotProd: sums of four products of bytes in each lane (Cortex-A55, A76 and later)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.neon import NEON, ONE_LANE

DOTPROD = ISAS.register("dotprod")(
    Isa(
        name="dotprod",
        arch="aarch64",
        vector_bits=128,
        registers=32,
        features=("dotprod",),
        march="armv8.2-a+dotprod",
        implies=("neon",),
        header="arm_neon.h",
        cpuinfo=("asimddp", *NEON.cpuinfo),
        detect=('es_auxiliary(16, 20, "FEAT_DotProd")',),
        emulator_cpu="cortex-a76",
        instr={
            **NEON.instr,
            "dot4_i8": "vdotq_s32((int32x4_t){0}, (int8x16_t){1}, (int8x16_t){2})",
            "dot4_i8_lane": f"vdotq_s32((int32x4_t){{0}}, (int8x16_t){{2}}, (int8x16_t){ONE_LANE})",
        },
    )
)
