"""The DSP extension with the FPU of Cortex-M7, M33 and M55, which rounds to integers too."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.fpv4 import FPV4

FPV5 = ISAS.register("fpv5")(
    Isa(
        name="fpv5",
        arch="thumb",
        vector_bits=32,
        registers=32,
        features=("fp_armv8d16sp",),
        implies=("fpv4",),
        header="arm_acle.h",
        emulator_cpu="cortex-m7",
        processor="cortex-m7",
        instr={
            **FPV4.instr,
            "floor": "{{__builtin_floorf({0}[0])}}",
            "ceil": "{{__builtin_ceilf({0}[0])}}",
            "rint": "{{__builtin_rintf({0}[0])}}",
        },
    )
)
