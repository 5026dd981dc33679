"""NEON with FEAT_FP16: arithmetic on eight numbers of fp16 (Cortex-A55, A75, A76 and later)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.neon_dotprod import DOTPROD

FP16 = ISAS.register("fp16")(
    Isa(
        name="fp16",
        arch="aarch64",
        vector_bits=128,
        registers=32,
        features=("fp16",),
        march=f"{DOTPROD.march}+fp16",
        implies=("dotprod",),
        header="arm_neon.h",
        cpuinfo=("fphp", "asimdhp", *DOTPROD.cpuinfo),
        detect=('es_auxiliary(16, 9, "FEAT_FP16")', 'es_auxiliary(16, 10, "FEAT_FP16")'),
        emulator_cpu="cortex-a76",
        instr={
            **DOTPROD.instr,
            **{
                name: f"{intrinsic}((float16x8_t){{0}}, (float16x8_t){{1}})"
                for name, intrinsic in (
                    ("add_f16", "vaddq_f16"),
                    ("mul_f16", "vmulq_f16"),
                    ("max_f16", "vmaxq_f16"),
                    ("min_f16", "vminq_f16"),
                )
            },
            "mla_f16": "vfmaq_f16((float16x8_t){0}, (float16x8_t){1}, (float16x8_t){2})",
            "mla_f16_lane": "vfmaq_n_f16((float16x8_t){0}, (float16x8_t){2}, ((float16x8_t){1})[{3}])",
        },
    )
)
