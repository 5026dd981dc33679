"""NEON with FEAT_I8MM: products of unsigned with signed bytes (Cortex-A510, A710, X2, Neoverse V1 and later)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.neon import ONE_LANE
from edgesmith.target.isa.neon_fp16 import FP16

I8MM = ISAS.register("i8mm")(
    Isa(
        name="i8mm",
        arch="aarch64",
        vector_bits=128,
        registers=32,
        features=("i8mm",),
        march=f"{FP16.march}+i8mm",
        implies=("fp16",),
        header="arm_neon.h",
        cpuinfo=("i8mm", *FP16.cpuinfo),
        detect=('es_auxiliary(26, 13, "FEAT_I8MM")',),
        emulator_cpu="max",
        instr={
            **FP16.instr,
            "two_u8": "vcombine_u8(vld1_u8({0}), vld1_u8({1}))",
            "dot8_pairs": "vusmmlaq_s32((int32x4_t){0}, (uint8x16_t){1}, (int8x16_t){2})",
            "dot4": "vusdotq_s32((int32x4_t){0}, (uint8x16_t){1}, (int8x16_t){2})",
            "dot4_lane": f"vusdotq_s32((int32x4_t){{0}}, (uint8x16_t){ONE_LANE}, (int8x16_t){{2}})",
        },
    )
)
