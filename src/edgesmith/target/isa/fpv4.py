"""The DSP extension with the FPU of Cortex-M4: single-precision floats."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.dsp import DSP

_NEAREST = '({{ int32_t near; __asm__("vcvtr.s32.f32 %0, %1" : "=t"(near) : "t"({1}[0])); near; }})'
_PLUS = f"__qadd({{1}}[0] == {{1}}[0] ? {_NEAREST} : INT32_MIN, {{2}})"
_NUMBER_PLUS = f"({{2}} ? __qadd({_NEAREST}, {{2}}) : {_NEAREST})"

FPV4 = ISAS.register("fpv4")(
    Isa(
        name="fpv4",
        arch="thumb",
        vector_bits=32,
        registers=32,
        features=("vfp4d16sp",),
        implies=("dsp",),
        header="arm_acle.h",
        emulator_cpu="cortex-m4",
        processor="cortex-m4",
        instr={
            **DSP.instr,
            "fma": "{{__builtin_fmaf({0}[0], {1}[0], {2}[0])}}",
            "round_i8": f"*{{0}} = (int8_t)__ssat({_PLUS}, 8)",
            "round_number_i8": f"*{{0}} = (int8_t)__ssat({_NUMBER_PLUS}, 8)",
            "round_number_u8": f"*{{0}} = (uint8_t)__usat({_NUMBER_PLUS}, 8)",
            "round_u8": f"*{{0}} = (uint8_t)__usat({_PLUS}, 8)",
            "sqrt": "{{__builtin_sqrtf({0}[0])}}",
        },
    )
)
