"""The DSP extension with the FPU of Cortex-M4: single-precision floats."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.dsp import DSP

FPV4 = ISAS.register("fpv4")(
    Isa(
        name="fpv4",
        arch="thumb",
        vector_bits=32,
        registers=13,
        features=("vfp4d16sp",),
        implies=("dsp",),
        header="arm_acle.h",
        emulator_cpu="cortex-m4",
        processor="cortex-m4",
        instr={
            **DSP.instr,
            "fma": "{{__builtin_fmaf({0}[0], {1}[0], {2}[0])}}",
            "sqrt": "{{__builtin_sqrtf({0}[0])}}",
        },
    )
)
