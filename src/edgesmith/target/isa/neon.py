"""NEON, the Advanced SIMD of AArch64: every 64-bit ARM processor has it.

Instructions: Arm, Architecture Reference Manual for A-profile architecture (DDI 0487), chapter C7; intrinsics: Arm Neon
Intrinsics Reference (IHI 0073).

``max`` and ``min`` are a comparison and a selection: where an operand is NaN, FMAX gives NaN, FMAXNM the other one, and
the vector layer the second. They are FMAX and FMIN where the first one is a constant; of two zeros these choose by the
sign.
"""

from edgesmith.target.isa import ISAS, Isa

_PAIRS = "(int16x8_t){%d}"
_PRODUCTS = (
    f"vmull_s16(vget_low_s16({_PAIRS % 1}), vget_low_s16({_PAIRS % 2}))",
    f"vmull_high_s16({_PAIRS % 1}, {_PAIRS % 2})",
)

_WEIGHTS = "(int8x16_t){2}"


def _four_products(lane: str) -> str:
    """Sums of four products of bytes: two in 16 bits, neighbours of which are added in 32.

    Args:
        lane: of the four numbers that all weights are multiplied with.
    """
    first, others = (f"(int8x16_t)vdupq_n_s16(({_PAIRS % 1})[2 * ({lane}){rest}])" for rest in ("", " + 1"))
    two = f"vmull_s8(vget_low_s8({_WEIGHTS}), vget_low_s8({first}))"
    return f"vpadalq_s16((int32x4_t){{0}}, vmlal_high_s8({two}, {_WEIGHTS}, {others}))"


def _zipped(kind: str) -> str:
    """Four bytes from either of two addresses, in turn, as 16-bit numbers."""
    loads = "uint32_t x, y; memcpy(&x, {0}, 4); memcpy(&y, {1}, 4);"
    return f"({{{{ {loads} vmovl_{kind}(vzip1_{kind}(vcreate_{kind}(x), vcreate_{kind}(y))); }}}})"


def _rounded(kind: str, vectors: int, name: str) -> str:
    """A store of vectors of floats as bytes.

    Args:
        name: which of the ``ROUNDINGS``.
    """
    pair, one = ROUNDINGS[name]
    shift = f"vdupq_n_s16((int16_t){{{vectors + 1}}})"
    moved = f"{{{vectors + 1}}} ? vqaddq_s16(%s, {shift}) : %s"
    narrow = "vqmovun" if kind == "u8" else "vqmovn"
    letter = kind.replace("i", "s")
    if vectors < 4:
        start = f"const int16x8_t shorts = {pair if vectors == 2 else one}; "
        bytes_ = f"{narrow}_s16({moved % ('shorts', 'shorts')})"
        if vectors == 2:
            return f"{start}vst1_{letter}({{0}}, {bytes_})"
        return f"{start}const uint32_t word = vget_lane_u32((uint32x2_t){bytes_}, 0); memcpy({{0}}, &word, 4)"
    second = pair.replace("{2}", "{4}").replace("{1}", "{3}")
    start = f"const int16x8_t low = {pair}; const int16x8_t high = {second}; "
    bytes_ = f"{narrow}_high_s16({narrow}_s16({moved % ('low', 'low')}), {moved % ('high', 'high')})"
    return f"{start}vst1q_{letter}({{0}}, {bytes_})"


def _by_conversion(integers: str) -> tuple[str, str]:
    """Two vectors as 16-bit numbers, and one: converted to integers, which are saturated."""
    first, second = (integers % f"{{{i}}}" for i in (1, 2))
    return f"vqmovn_high_s32(vqmovn_s32({first}), {second})", f"vcombine_s16(vqmovn_s32({first}), vdup_n_s16(0))"


def _by_addition() -> tuple[str, str]:
    """The same by a number whose unit in the last place is 1 and whose low 16 bits are 0."""
    first, second = (f"(int16x8_t)vaddq_f32({{{i}}}, vdupq_n_f32(12582912.0f))" for i in (1, 2))
    return f"vuzp1q_s16({first}, {second})", f"vuzp1q_s16({first}, vdupq_n_s16(0))"


ROUNDINGS = {
    "round": _by_conversion("vcvtnq_s32_f32(vmaxnmq_f32(%s, vdupq_n_f32(-65536.0f)))"),
    "round_number": _by_conversion("vcvtnq_s32_f32(%s)"),
    "round_short": _by_addition(),
}
"""How floats become 16-bit numbers, two vectors and one; NaN becomes a negative number first."""


def _extremum(instruction: str, better: str) -> str:
    """By an instruction where the first operand is a constant, and not NaN."""
    constant = "__builtin_constant_p({0}[0]) && {0}[0] == {0}[0]"
    return f"({constant} ? {instruction}({{0}}, {{1}}) : es_select({{0}} {better} {{1}}, {{0}}, {{1}}))"


ONE_LANE = "vdupq_n_s32(((int32x4_t){1})[{3}])"
"""Lane {3} of {1} in all lanes; compilers put it into the instruction that reads it."""

NEON = ISAS.register("neon")(
    Isa(
        name="neon",
        arch="aarch64",
        vector_bits=128,
        registers=32,
        header="arm_neon.h",
        cpuinfo=("asimd",),
        baseline=True,
        emulator_cpu="cortex-a72",
        instr={
            "zip_u8": _zipped("u8"),
            "zip_i8": _zipped("s8"),
            "shuffle16": "vqtbl1q_u8(vld1q_u8({0}), vandq_u8((uint8x16_t){1}, vdupq_n_u8(0x8f)))",
            "minus16": "vqsubq_s8((int8x16_t){0}, vdupq_n_s8(16))",
            "dot2": f"vaddq_s32((int32x4_t){{0}}, vpaddq_s32({', '.join(_PRODUCTS)}))",
            "dot2_planes": (
                "vmlal_high_laneq_s16(vmlal_lane_s16((int32x4_t){0}, vget_low_s16((int16x8_t){2}), "
                "vget_low_s16((int16x8_t){1}), 0), (int16x8_t){2}, (int16x8_t){1}, 1)"
            ),
            "dot4_planes": _four_products("0"),
            "dot4_planes_lane": _four_products("{3}"),
            "mul_i8_low": "vmull_s8(vget_low_s8((int8x16_t){0}), vget_low_s8((int8x16_t){1}))",
            "mul_i8_high": "vmull_high_s8((int8x16_t){0}, (int8x16_t){1})",
            "mla_i8_low": "vmlal_s8((int16x8_t){0}, vget_low_s8((int8x16_t){1}), vget_low_s8((int8x16_t){2}))",
            "mla_i8_high": "vmlal_high_s8((int16x8_t){0}, (int8x16_t){1}, (int8x16_t){2})",
            "add_i16_low": "vaddw_s16((int32x4_t){0}, vget_low_s16((int16x8_t){1}))",
            "add_i16_high": "vaddw_high_s16((int32x4_t){0}, (int16x8_t){1})",
            "max": _extremum("vmaxq_f32", ">"),
            "max_number": "vmaxnmq_f32({0}, {1})",
            "min": _extremum("vminq_f32", "<"),
            "fma": "vfmaq_f32({2}, {0}, {1})",
            "fma_lane": "vfmaq_n_f32({2}, {0}, {1}[{3}])",
            "sqrt": "vsqrtq_f32({0})",
            **{
                f"{name}_{kind}{suffix}": _rounded(kind, vectors, name)
                for name in ROUNDINGS
                for kind in ("u8", "i8")
                for suffix, vectors in (("", 1), ("_2", 2), ("_4", 4))
            },
            "floor": "vrndmq_f32({0})",
            "ceil": "vrndpq_f32({0})",
            "rint": "vrndnq_f32({0})",
            "select": "vbslq_f32((uint32x4_t){0}, {1}, {2})",
            "first": "vcltq_s32((int32x4_t){{0, 1, 2, 3}}, vdupq_n_s32({0}))",
            "sum": "vaddvq_f32({0})",
            "load_f16": "vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16({0})))",
            "repeat_f16": "vcvt_f32_f16(vreinterpret_f16_u16(vld1_dup_u16({0})))",
            "store_f16": "vst1_u16({0}, vreinterpret_u16_f16(vcvt_f16_f32({1})))",
            "round_f16": "vcvt_f32_f16(vcvt_f16_f32({0}))",
            "low_f16": "vcvt_f32_f16(vget_low_f16((float16x8_t){0}))",
            "high_f16": "vcvt_high_f32_f16((float16x8_t){0})",
            "join_f16": "vcvt_high_f16_f32(vcvt_f16_f32({0}), {1})",
        },
    )
)
