"""NEON of 32-bit ARM with fused multiply-adds (VFPv4: Cortex-A7, A15, A17 and every ARMv8 processor).

Its floats are not quite IEEE: results and operands below the smallest normal number count as 0 (Arm Architecture
Reference Manual ARMv7-A, "Advanced SIMD and floating-point").
"""

from edgesmith.target.isa import ISAS, Isa

_PAIRS = "(int16x8_t){%d}"
_HALVES = [f"vmull_s16(vget_{half}_s16({_PAIRS % 1}), vget_{half}_s16({_PAIRS % 2}))" for half in ("low", "high")]
_ADDED = [f"vpadd_s32(vget_low_s32({half}), vget_high_s32({half}))" for half in _HALVES]


def _products(half: str) -> dict[str, str]:
    """Products and sums of half of the lanes."""
    first, second, third = (f"vget_{half}_s8((int8x16_t){{{i}}})" for i in range(3))
    return {
        f"mul_i8_{half}": f"vmull_s8({first}, {second})",
        f"mla_i8_{half}": f"vmlal_s8((int16x8_t){{0}}, {second}, {third})",
        f"add_i16_{half}": f"vaddw_s16((int32x4_t){{0}}, vget_{half}_s16((int16x8_t){{1}}))",
    }


NEON32 = ISAS.register("neon32")(
    Isa(
        name="neon32",
        arch="arm",
        vector_bits=128,
        registers=16,
        features=("v7a", "neon", "vfp4"),
        march="armv7-a",
        options=("-mfpu=neon-vfpv4", "-mfloat-abi=hard"),
        condition="defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)",
        header="arm_neon.h",
        cpuinfo=("neon", "vfpv4"),
        detect=('es_auxiliary(16, 12, "")', 'es_auxiliary(16, 16, "")'),
        emulator_cpu="cortex-a7",
        instr={
            "dot2": f"vaddq_s32((int32x4_t){{0}}, vcombine_s32({', '.join(_ADDED)}))",
            "dot2_planes": (
                "vmlal_lane_s16(vmlal_lane_s16((int32x4_t){0}, vget_low_s16((int16x8_t){2}), "
                "vget_low_s16((int16x8_t){1}), 0), vget_high_s16((int16x8_t){2}), vget_low_s16((int16x8_t){1}), 1)"
            ),
            **_products("low"),
            **_products("high"),
            "fma": "vfmaq_f32({2}, {0}, {1})",
            "select": "vbslq_f32((uint32x4_t){0}, {1}, {2})",
            "first": "vcltq_s32((int32x4_t){{0, 1, 2, 3}}, vdupq_n_s32({0}))",
        },
    )
)
